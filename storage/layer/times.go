package layer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/spool"
)

// Times has the times of change that occur in some layers: those of a checkout,
// of which a command may have taken a file along. A nil one is empty. It isn't
// changed once it is made. There may be as many as files, so that they are kept out
// of memory.
type Times struct {
	below *Times
	mu    sync.Mutex
	of    *spool.Index
}

// GatherTimes gives the times of a layer's entries and those of below, which
// may be nil and stays in use. It makes its file in the directory temp, or where
// that is "" in the system's.
func GatherTimes(ctx context.Context, src Source, below *Times, temp string) (*Times, error) {
	t := &Times{below: below, of: spool.NewIndex(temp)}
	err := src.Walk(ctx, func(e *Entry) error {
		if e.Implied || e.Whiteout {
			return nil
		}
		return t.add(e.ModTime)
	})
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close gives everything back, but for what is below.
func (t *Times) Close() error { return t.of.Close() }

// add notes a time, and what is left of it where a tool keeps no more than
// micro-seconds or, as tar does, seconds.
func (t *Times) add(at time.Time) error {
	nsec := at.Nanosecond()
	for _, cut := range []int{nsec, nsec - nsec%1000, 0} {
		k := momentKey(at.Unix(), cut)
		if _, known, err := t.of.Get(k); err != nil {
			return err
		} else if known {
			continue
		}
		if err := t.of.Set(k, 0); err != nil {
			return err
		}
	}
	return nil
}

func (t *Times) has(at time.Time) (bool, error) {
	k := momentKey(at.Unix(), at.Nanosecond())
	for ; t != nil; t = t.below {
		t.mu.Lock()
		_, ok, err := t.of.Get(k)
		t.mu.Unlock()
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func momentKey(sec int64, nsec int) spool.Key { return spool.NumberKey(uint64(sec), uint64(nsec)) }
