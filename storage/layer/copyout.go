package layer

import (
	"context"
	"errors"
)

// CopyOut copies a directory of a tree, whose path [Tree.Resolve] has given, into
// the empty directory dst, with owner, mode, attributes and time of the directory
// itself and of all below it. Files of several names have them there too. Without
// exact owners they are kept as [DirOptions] has it, but for those of links.
func CopyOut(ctx context.Context, dst string, t *Tree, dir string, exactOwners bool) error {
	owners := NewOwners("")
	w := NewDirWriter(dst, NewTree(nil), DirOptions{Flavor: VFS, ExactOwners: exactOwners, Owners: owners})
	err := Below(t, dir).Walk(ctx, w.Write)
	return errors.Join(err, w.Close(), owners.Close())
}
