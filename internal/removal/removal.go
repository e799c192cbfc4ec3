// Package removal removes directories whose owner has been left no right to.
package removal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// AsideSuffix ends the name of the directory in which lies what was moved out of a
// tree's way for a while. Before it stands the tree's own name, and who removes the tree
// removes that as well.
const AsideSuffix = ".aside"

// All removes a path with all beneath it, as [os.RemoveAll] does. An image or an
// archive can hold directories that their owner may not change or look into: where
// he isn't root of anything he gives himself the right first. The error is a *Foreign
// where others have files in it that this process can't remove.
func All(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	openUp(path)
	if err = os.RemoveAll(path); errors.Is(err, fs.ErrPermission) {
		if foreign := Possible(path); foreign != nil {
			return foreign
		}
	}
	return err
}

// Foreign is a directory that can't be emptied: it is of an id that this process has
// no power over, such as a subordinate one where that isn't mapped.
type Foreign struct{ Path string }

func (f *Foreign) Error() string {
	return fmt.Sprintf("%s belongs to another id: %s", f.Path, unix.EACCES)
}

// Unwrap says that it is a matter of permission.
func (f *Foreign) Unwrap() error { return unix.EACCES }

// Possible tells whether All could remove a path with all beneath it: the error is a
// *Foreign where it couldn't. Directories alone decide about that.
func Possible(path string) error {
	var found *Foreign
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() { // what can't be read is opened up, or was found below
			return nil //nolint:nilerr // see above
		}
		if !foreign(path) {
			return nil
		}
		if names, err := os.ReadDir(path); err == nil && len(names) == 0 {
			return nil
		}
		found = &Foreign{path}
		return fs.SkipAll
	})
	if found == nil {
		return nil
	}
	return found
}

// foreign tells whether a directory is of an id that this process has no power over,
// and keeps its files. Who has the power could set its mode: it is set to what it is.
func foreign(path string) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Uid == uint32(os.Geteuid()) {
		return false
	}
	const take = unix.W_OK | unix.X_OK
	if st.Mode&unix.S_ISVTX == 0 && unix.Faccessat(unix.AT_FDCWD, path, take, unix.AT_EACCESS) == nil {
		return false
	}
	return unix.Chmod(path, st.Mode&^unix.S_IFMT) != nil
}

// openUp gives the owner of directories all rights in them, as far as the process is
// he. What fails is told of by the removal. No link is followed: what could put one
// in a directory's place meanwhile is the owner himself.
func openUp(path string) {
	const all = 0o700
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // see above
		}
		if st, err := d.Info(); err == nil && st.Mode().Perm()&all != all {
			_ = os.Chmod(path, st.Mode().Perm()|all)
		}
		return nil
	})
}
