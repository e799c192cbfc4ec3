package layer

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// copiedUp is a file that fuse-overlayfs has copied up, and from where.
type copiedUp struct{ path, origin string }

// stripOrigins takes fuse-overlayfs's marks off a whole directory, and tells which of
// those that bore one are wanted; see [Settle].
func stripOrigins(ctx context.Context, upper string, wanted func(copiedUp) (bool, error)) ([]copiedUp, error) {
	fd, err := openat(unix.AT_FDCWD, upper, openDirFlags, 0)
	if err != nil {
		return nil, err
	}
	q := &dirQueue{wanted: wanted}
	q.more.L = &q.mu
	q.add(queuedDir{above: newHeldDir(fd), name: "."})
	defer q.close()
	g, ctx := errgroup.WithContext(ctx)
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			for {
				d, ok := q.take()
				if !ok {
					return nil
				}
				err := stripDir(ctx, d, q)
				q.done(err)
				if err != nil {
					return pathError("removexattr", d.path, err)
				}
			}
		})
	}
	err = g.Wait()
	return q.copied, err
}

// stripDir strips the files of one directory and queues those in it.
func stripDir(ctx context.Context, d queuedDir, q *dirQueue) error {
	fd, err := openDir(d.above.fd, d.name)
	d.above.release()
	if err != nil {
		return err
	}
	here := newHeldDir(fd)
	defer here.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for n := range names.all() {
		typ, err := n.typeIn(fd)
		if err != nil {
			return err
		}
		p := join(d.path, n.name)
		switch typ {
		case unix.DT_DIR:
			q.add(queuedDir{here.hold(), n.name, p})
		case unix.DT_REG:
			origin, err := stripFile(procPath(fd, n.name))
			if err != nil {
				return err
			}
			if origin != "" {
				if err := q.found(copiedUp{p, origin}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stripFile looks before it removes: looking takes no lock.
func stripFile(path string) (origin string, err error) {
	var small [256]byte
	value, err := readValue(func(b []byte) (int, error) { return unix.Lgetxattr(path, fuseOrigin, b) }, small[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return "", nil
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(value), "\x00"), unix.Lremovexattr(path, fuseOrigin)
}

// queuedDir is a directory that waits to be stripped. It is opened from the one
// above, as its path may be longer than the kernel takes.
type queuedDir struct {
	above      *heldDir
	name, path string
}

// heldDir is a directory that stays open while one in it waits.
type heldDir struct {
	fd    int
	users atomic.Int64
}

// newHeldDir has the caller as its only user.
func newHeldDir(fd int) *heldDir {
	h := &heldDir{fd: fd}
	return h.hold()
}

func (h *heldDir) hold() *heldDir {
	h.users.Add(1)
	return h
}

func (h *heldDir) release() {
	if h.users.Add(-1) == 0 {
		closeFD(h.fd)
	}
}

// dirQueue hands out directories until none is left or being worked on: the
// newest first, so that few are open at a time.
type dirQueue struct {
	mu     sync.Mutex
	more   sync.Cond
	todo   []queuedDir
	open   int // queued or being worked on
	failed bool
	wanted func(copiedUp) (bool, error)
	copied []copiedUp
}

func (q *dirQueue) found(c copiedUp) error {
	wanted, err := q.wanted(c)
	if err != nil || !wanted {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.copied = append(q.copied, c)
	return nil
}

func (q *dirQueue) add(d queuedDir) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.todo = append(q.todo, d)
	q.open++
	q.more.Signal()
}

// take waits for a directory; false means that there will be none.
func (q *dirQueue) take() (queuedDir, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.todo) == 0 && q.open > 0 && !q.failed {
		q.more.Wait()
	}
	if len(q.todo) == 0 || q.failed {
		return queuedDir{}, false
	}
	last := len(q.todo) - 1
	d := q.todo[last]
	q.todo = q.todo[:last]
	return d, true
}

func (q *dirQueue) done(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
	q.failed = q.failed || err != nil
	if q.open == 0 || q.failed {
		q.more.Broadcast()
	}
}

// close frees what an error has left in the queue.
func (q *dirQueue) close() {
	for _, d := range q.todo {
		d.above.release()
	}
}
