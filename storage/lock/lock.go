// Package lock guards what builder's processes share on disk, by flock(2) on
// files that exist for nothing else. The kernel lets a lock go when its holder
// dies, however it dies, so no lock is ever stale.
//
// # Order
//
// Whoever holds several locks has taken them in this order:
//
//  1. locks/store: the whole store. Every command that uses the store holds it
//     shared; clean-up holds it exclusively, and never waits for it. Then
//     locks/blobs, shared by who counts on blobs without leasing them: every
//     command but builds that execute and containers, and those while they find
//     or fetch an image. Who frees something beside others only tries to get it
//     exclusively.
//  2. sessions/<id>: one live command's own, held exclusively until it ends.
//     Others only try it, to learn whether the command still lives.
//  3. locks/steps/<key>: making one step, and then, within, unpacking the layers
//     from one key upward. A worker holds one of each at most: unpacking waits
//     for no step. While a step is made too: cache/mounts/*/lock, those of one
//     RUN in the order of their names.
//  4. locks/volumes: shared by who makes or starts a container, until its
//     configuration names its volumes, exclusive while volumes lose their names.
//     Then, within, volumes/<name>/lock, one at a time.
//  5. locks/leases: shared while a lease is written, exclusive while somebody
//     prunes beside others.
//  6. locks/index and locks/records: one read, change and rename of index.json
//     or of a record. Nothing else is taken while one of them is held.
//
// The directory of a file of credentials is locked by itself, while no other lock is
// taken.
//
// # Life of the files
//
// A lock file is empty and made once, so that a full disk stops no command that
// only reads. It is never unlinked while somebody may hold or await it:
// locks/steps is emptied under the exclusive store lock only, and the rest goes
// with the store. The owner of a session removes its own file last.
// Descriptors are closed on exec: a child that kept one would keep the lock.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Waiting polls: a blocked flock can't be called off by a context.
const (
	firstPause   = 500 * time.Microsecond
	longestPause = 20 * time.Millisecond
)

// A Lock is held from the call that gave it until Unlock, or until the process
// ends. Each call opens its own descriptor, so locks hold between the
// goroutines of one process as they do between processes.
type Lock struct {
	file *os.File
}

// Shared waits until path is held by no exclusive holder, and holds it along
// with other shared ones. The file is made where it is missing; its directory
// must be there.
func Shared(ctx context.Context, path string) (*Lock, error) {
	return wait(ctx, path, unix.LOCK_SH)
}

// Exclusive waits until nobody else holds path, and holds it alone.
func Exclusive(ctx context.Context, path string) (*Lock, error) {
	return wait(ctx, path, unix.LOCK_EX)
}

// Directory is Exclusive for a directory, which must be there: nothing is made in it.
func Directory(ctx context.Context, path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := waitFile(ctx, f, unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// TryExclusive is Exclusive without waiting: it reports false where somebody
// else holds path.
func TryExclusive(path string) (*Lock, bool, error) {
	f, err := open(path)
	if err != nil {
		return nil, false, err
	}
	held, err := try(f, unix.LOCK_EX)
	if err != nil || !held {
		return nil, false, errors.Join(err, f.Close())
	}
	return &Lock{f}, true, nil
}

// Free reports whether nobody holds path, exclusively or shared. It makes no file:
// one that is missing is nobody's. For a moment the caller holds it himself.
func Free(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	free, err := try(f, unix.LOCK_EX)
	return free, errors.Join(err, f.Close())
}

// TryUpgrade turns a shared lock into an exclusive one where no one else holds
// it. Where it reports false the lock is shared again, but for a moment it was
// not held at all: what was learnt under it before has to be looked up anew.
func (l *Lock) TryUpgrade(ctx context.Context) (bool, error) {
	held, err := try(l.file, unix.LOCK_EX)
	if err != nil || held {
		return held, err
	}
	return false, waitFile(ctx, l.file, unix.LOCK_SH)
}

// Downgrade turns an exclusive lock into a shared one. For a moment nobody
// holds it: an exclusive waiter may come first.
func (l *Lock) Downgrade(ctx context.Context) error {
	return waitFile(ctx, l.file, unix.LOCK_SH)
}

// Names reports whether path still names the file that is locked. After
// waiting for a lock its file may have been removed, along with what it
// guarded.
func (l *Lock) Names(path string) bool {
	held, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(held, named)
}

// Held says whether Unlock hasn't been called yet.
func (l *Lock) Held() bool { return l != nil && l.file != nil }

// Unlock lets the lock go. A second call does nothing.
func (l *Lock) Unlock() {
	if l == nil || l.file == nil {
		return
	}
	// Closing the only descriptor releases the lock; nothing was written, so
	// that closing can't fail in a way that matters.
	_ = l.file.Close()
	l.file = nil
}

func wait(ctx context.Context, path string, how int) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := waitFile(ctx, f, how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

func waitFile(ctx context.Context, f *os.File, how int) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		held, err := try(f, how)
		if err != nil || held {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for lock %s: %w", f.Name(), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// try asks for the lock without waiting.
func try(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// open gives a descriptor to lock by, closed on exec as os.OpenFile has it.
// NFS grants exclusive locks to writable descriptors only; a read-only file
// system has no others to give.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if !errors.Is(err, unix.EROFS) {
		return f, err
	}
	f, rerr := os.Open(path)
	if errors.Is(rerr, fs.ErrNotExist) {
		return nil, err // it can't be made
	}
	return f, rerr
}
