// Package atomicfile writes files that are seen whole or not at all: aside
// first, then renamed over the final name.
package atomicfile

import (
	"io"
	"os"
	"path/filepath"
)

// Prefix begins the names of files that are still being written. What bears
// it and has no living writer is rubbish.
const Prefix = ".tmp-"

// Write replaces path by data and returns when both the content and the name
// are on stable storage.
func Write(path string, data []byte, perm os.FileMode) error {
	return Stream(path, perm, whole(data))
}

// Stream is Write for content that is written piece by piece.
func Stream(path string, perm os.FileMode, content func(io.Writer) error) error {
	if err := replace(path, perm, true, content); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// WriteUnsynced replaces path by data without waiting for the disk: after a
// power failure the file may be old, new, or empty. Sync waits for it.
func WriteUnsynced(path string, data []byte, perm os.FileMode) error {
	return replace(path, perm, false, whole(data))
}

// StreamUnsynced is WriteUnsynced for content that is written piece by piece.
func StreamUnsynced(path string, perm os.FileMode, content func(io.Writer) error) error {
	return replace(path, perm, false, content)
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func whole(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func replace(path string, perm os.FileMode, sync bool, content func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), Prefix+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // err says what went wrong first
			_ = os.Remove(f.Name())
		}
	}()
	if err = content(f); err != nil {
		return err
	}
	if err = f.Chmod(perm); err != nil {
		return err
	}
	if sync {
		if err = f.Sync(); err != nil {
			return err
		}
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
