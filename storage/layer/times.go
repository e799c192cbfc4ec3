package layer

import (
	"context"
	"time"
)

// Times has the times of change that occur in some layers: those of a checkout,
// of which a command may have taken a file along. A nil one is empty. It isn't
// changed once it is made.
type Times struct {
	of    map[moment]struct{}
	below *Times
}

type moment struct{ sec, nsec int64 }

// GatherTimes gives the times of a layer's entries and those of below, which
// may be nil.
func GatherTimes(ctx context.Context, src Source, below *Times) (*Times, error) {
	t := &Times{of: map[moment]struct{}{}, below: below}
	err := src.Walk(ctx, func(e *Entry) error {
		if !e.Implied && !e.Whiteout {
			t.add(e.ModTime)
		}
		return nil
	})
	return t, err
}

// add notes a time, and what is left of it where a tool keeps no more than
// micro-seconds or, as tar does, seconds.
func (t *Times) add(at time.Time) {
	sec, nsec := at.Unix(), int64(at.Nanosecond())
	for _, m := range []moment{{sec, nsec}, {sec, nsec - nsec%1000}, {sec, 0}} {
		t.of[m] = struct{}{}
	}
}

func (t *Times) has(at time.Time) bool {
	for ; t != nil; t = t.below {
		if _, ok := t.of[moment{at.Unix(), int64(at.Nanosecond())}]; ok {
			return true
		}
	}
	return false
}
