package layer

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// copiedUp is a file that fuse-overlayfs has copied up, and from where.
type copiedUp struct{ path, origin string }

// stripOrigins takes fuse-overlayfs's marks off a whole directory and tells what
// bore one; see [Settle].
func stripOrigins(ctx context.Context, upper string) ([]copiedUp, error) {
	g, ctx := errgroup.WithContext(ctx)
	q := &dirQueue{todo: []string{""}, open: 1}
	q.more.L = &q.mu
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			for {
				dir, ok := q.take()
				if !ok {
					return nil
				}
				err := stripDir(ctx, upper, dir, q)
				q.done(err)
				if err != nil {
					return pathError("removexattr", dir, err)
				}
			}
		})
	}
	err := g.Wait()
	return q.copied, err
}

// stripDir strips the files of one directory and queues those in it.
func stripDir(ctx context.Context, upper, dir string, q *dirQueue) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fd, err := openat(unix.AT_FDCWD, upper+"/"+dir, openDirFlags, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for _, d := range names {
		typ, err := d.typeIn(fd)
		if err != nil {
			return err
		}
		p := join(dir, d.name)
		switch typ {
		case unix.DT_DIR:
			q.add(p)
		case unix.DT_REG:
			origin, err := stripFile(upper + "/" + p)
			if err != nil {
				return err
			}
			if origin != "" {
				q.found(copiedUp{p, origin})
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

// dirQueue hands out directories until none is left or being worked on.
type dirQueue struct {
	mu     sync.Mutex
	more   sync.Cond
	todo   []string
	open   int // queued or being worked on
	failed bool
	copied []copiedUp
}

func (q *dirQueue) found(c copiedUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.copied = append(q.copied, c)
}

func (q *dirQueue) add(dir string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.todo = append(q.todo, dir)
	q.open++
	q.more.Signal()
}

// take waits for a directory; false means that there will be none.
func (q *dirQueue) take() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.todo) == 0 && q.open > 0 && !q.failed {
		q.more.Wait()
	}
	if len(q.todo) == 0 || q.failed {
		return "", false
	}
	last := len(q.todo) - 1
	dir := q.todo[last]
	q.todo = q.todo[:last]
	return dir, true
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
