// Package removal removes directories whose owner has been left no right to.
package removal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// AsideSuffix ends the name of the directory in which lies what was moved out of a
// tree's way for a while. Before it stands the tree's own name, and who removes the tree
// removes that as well.
const AsideSuffix = ".aside"

// All removes a path with all beneath it, as [os.RemoveAll] does. An image or an
// archive can hold directories that their owner may not change or look into: where
// he isn't root of anything he gives himself the right first.
func All(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	openUp(path)
	return os.RemoveAll(path)
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
