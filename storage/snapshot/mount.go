package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	graphdriver "github.com/containers/storage/drivers"
	"golang.org/x/sys/unix"
)

func (d *overlayDriver) mount(id string, volatile bool) (string, error) {
	if err := d.wait(id); err != nil {
		return "", err
	}
	root, err := os.Lstat(d.top(id))
	if err != nil {
		return "", err
	}
	o := graphdriver.MountOpts{Volatile: volatile, DisableShifting: true}
	path, err := d.storage.Get(id, o)
	if errors.Is(err, unix.EBUSY) && d.leaving.settle() {
		// Where the kernel has overlay's index on, it refuses a lower directory
		// that is still some mount's upper one.
		path, err = d.storage.Get(id, o)
	}
	if err != nil {
		return "", d.programs(err)
	}
	if err := restoreOwner(path, root); err != nil {
		return "", errors.Join(err, d.storage.Put(id))
	}
	return path, nil
}

// programs explains an error by which the mount program has ended. What that said,
// containers/storage has between its own words and the code.
func (d *overlayDriver) programs(err error) error {
	var exit *exec.ExitError
	if d.explain == nil || !errors.As(err, &exit) {
		return err
	}
	_, said, _ := strings.Cut(err.Error(), "using mount program ")
	_, said, _ = strings.Cut(strings.TrimSuffix(said, ": "+exit.Error()), ": ")
	return d.explain([]byte(said), exit)
}

// restoreOwner gives a mounted tree's root directory back to whom it belonged: the
// driver has made it root's.
func restoreOwner(path string, root os.FileInfo) error {
	was := root.Sys().(*syscall.Stat_t)
	if was.Uid == 0 && was.Gid == 0 {
		return nil
	}
	if err := os.Lchown(path, int(was.Uid), int(was.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(path, was.Mode&0o7777); err != nil { // chown takes set-id bits off
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// patience is how long unmount waits before it lets the kernel go on by itself.
const patience = 20 * time.Millisecond

// unmount has everything written to the tree's upper directory. Then it need
// not wait for the kernel to free what it has cached of the mount: after a step
// that wrote a gigabyte, or tens of thousands of files, that takes a fifth of a
// second and more.
func (d *overlayDriver) unmount(id string) error {
	var err error
	if d.fuse {
		// It fails where fuse-overlayfs has died; the mount has to go all the
		// same.
		err = syncFilesystem(filepath.Join(d.home, id, "merged"))
	}
	done := d.leaving.begin(id, func() error { return d.storage.Put(id) })
	if d.fuse && !syncfsWaitsForFuse() {
		return errors.Join(err, d.wait(id))
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-done:
		return errors.Join(err, d.wait(id))
	case <-timeout.C:
		return err
	}
}

// syncfsWaitsForFuse tells whether the kernel is one whose syncfs(2) returns
// only when the server of a FUSE file system has taken all that was written.
// Before Linux 6.16 it returned when that had been copied for sending.
var syncfsWaitsForFuse = sync.OnceValue(func() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	n, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && err == nil && (major > 6 || major == 6 && minor >= 16)
})

// sync leaves the kernel's own overlay alone: what is written there is in the
// files of the upper directory at once.
func (d *overlayDriver) sync(id string) error {
	if !d.fuse {
		return nil
	}
	merged := filepath.Join(d.home, id, "merged")
	if err := syncFilesystem(merged); err != nil || syncfsWaitsForFuse() {
		return err
	}
	return flushEach(d.top(id), merged)
}

// flushEach waits until the server of a FUSE mount has taken what was written to the
// files in upper: closing one does that, on any kernel. What goes meanwhile is passed
// over.
func flushEach(upper, merged string) error {
	root, err := os.OpenRoot(merged)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreAbsent(err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(upper, path)
		if err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil //nolint:nilerr // it went, or is the driver's own
		}
		return f.Close()
	})
}

// drop doesn't ask the program that serves the mount, and waits for nothing.
func (d *overlayDriver) drop(id string) error {
	path := filepath.Join(d.home, id, "merged")
	return os.NewSyscallError("umount "+path, unix.Unmount(path, unix.MNT_DETACH))
}

// wait waits for a mount that is being unmounted.
func (d *overlayDriver) wait(id string) error { return d.leaving.wait(id) }

func (d *overlayDriver) close() error { return d.leaving.close() }

// leaving holds the mounts that are being unmounted, by their trees' ids.
type leaving struct {
	mu     sync.Mutex
	mounts map[string]*leave
}

type leave struct {
	done chan struct{}
	err  error // valid when done is closed
}

// begin starts an unmount; the channel is closed at its end.
func (l *leaving) begin(id string, unmount func() error) <-chan struct{} {
	m := &leave{done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mounts == nil {
		l.mounts = map[string]*leave{}
	}
	l.mounts[id] = m
	go func() {
		m.err = unmount()
		close(m.done)
	}()
	return m.done
}

// wait gives the error of an unmount at its end, and forgets it.
func (l *leaving) wait(id string) error {
	l.mu.Lock()
	m := l.mounts[id]
	delete(l.mounts, id)
	l.mu.Unlock()
	if m == nil {
		return nil
	}
	<-m.done
	return m.err
}

// settle waits for all that have begun, and reports whether there were any.
// Their errors are kept.
func (l *leaving) settle() bool {
	begun := l.all()
	for _, m := range begun {
		<-m.done
	}
	return len(begun) > 0
}

// close waits for all and gives their errors.
func (l *leaving) close() error {
	var errs []error
	for id := range l.all() {
		errs = append(errs, l.wait(id))
	}
	return errors.Join(errs...)
}

func (l *leaving) all() map[string]*leave {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.mounts)
}

func syncFilesystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
