package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// makeDir makes the directory own, locked, with the files that fill writes. A
// sweeper may be quicker than the lock; then it has removed what was made, and
// that is made once more.
func makeDir(own string, fill func(dir string) error) (lock *os.File, err error) {
	dir := filepath.Dir(own)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for {
		aside, err := os.MkdirTemp(dir, atomicfile.Prefix)
		if err != nil {
			return nil, err
		}
		lock, err := lockNew(aside)
		if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = fill(aside)
		}
		if err == nil {
			err = os.Rename(aside, own)
		}
		if err == nil {
			return lock, nil
		}
		err = errors.Join(err, removeDir(aside))
		if lock != nil {
			_ = lock.Close()
		}
		return nil, err
	}
}

// Sweep removes the directories of containers that were to be removed, or
// weren't yet whole, when their monitor was killed. dir may be missing. What else
// goes with a container is removed before by removing, of which the container isn't
// removed as long as that fails.
func Sweep(dir string, removing func(Config) error) error {
	var errs []error
	err := eachDead(dir, func(own string) {
		var c Config
		if readRecord(filepath.Join(own, configFile), &c) == nil {
			if err := removing(c); err != nil {
				errs = append(errs, err)
				return
			}
		}
		errs = append(errs, removeDir(own))
	})
	return errors.Join(append(errs, err)...)
}

// Dead lists what Sweep would remove.
func Dead(dir string) (dead []string, err error) {
	err = eachDead(dir, func(own string) { dead = append(dead, own) })
	return dead, err
}

// eachDead calls fn with each directory that Sweep is for, and holds its lock
// meanwhile.
func eachDead(dir string, fn func(own string)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		own := filepath.Join(dir, entry.Name())
		lock, err := lockDir(own)
		if errors.Is(err, fs.ErrNotExist) {
			// Its maker has not come so far, and will see that we were quicker.
			lock, err = lockNew(own)
		}
		if err != nil {
			continue // it lives, or has gone meanwhile
		}
		if !isKept(own) {
			fn(own)
		}
		_ = lock.Close()
	}
	return nil
}

// isKept tells whether a container without a monitor is to stay. Damaged records
// are no reason to remove what it has written.
func isKept(own string) bool {
	var c Config
	err := readRecord(filepath.Join(own, configFile), &c)
	if err != nil || !c.Remove {
		return err == nil || isDamaged(err)
	}
	var s State
	err = readRecord(filepath.Join(own, stateFile), &s)
	return err == nil && s.Waits
}

// removeDir removes a container's directory, the lock last.
func removeDir(own string) error {
	for _, name := range []string{configFile, stateFile} {
		if err := os.Remove(filepath.Join(own, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := os.RemoveAll(own)
	if errors.Is(err, unix.ENOTEMPTY) {
		return nil // a sweeper has put its lock there meanwhile, and removes it
	}
	return err
}

// errLocked says that a container has a living monitor.
var errLocked = errors.New("the container has a monitor")

// lockDir takes the lock of a container's directory, for as long as the file
// is open; it fails with errLocked where another process has it.
func lockDir(own string) (*os.File, error) { return takeLock(own, 0) }

// lockNew is lockDir for a directory that may have no lock yet.
func lockNew(own string) (*os.File, error) { return takeLock(own, os.O_CREATE) }

func takeLock(own string, flag int) (*os.File, error) {
	path := filepath.Join(own, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errLocked
	}
	if !isAt(f, path) {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return f, nil
}

// isAt tells whether path still names the open file: whoever had the lock
// before may have removed it.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}
