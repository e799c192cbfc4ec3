package snapshot

import (
	"errors"
	"fmt"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/storage/layer"
)

// ChangeOptions say how the changes of a kept tree are read. Both are as in
// layer.UpperOptions.
type ChangeOptions struct {
	Placeholders []string
	Look         bool
}

func (o ChangeOptions) upper(flavor layer.Flavor, exact bool) layer.UpperOptions {
	return layer.UpperOptions{Flavor: flavor, ExactOwners: exact, Placeholders: o.Placeholders, Look: o.Look}
}

// KeptChanges gives what an owner's kept tree changes of the one below, as it is
// now. Who wants all that a program has written, while the tree is mounted, calls
// Sync where it is. Errors are those of Reopen.
func (s *Store) KeptChanges(owner string, o ChangeOptions) (layer.Source, error) {
	k, below, err := s.kept(owner)
	if err != nil {
		return nil, err
	}
	if err := s.lend(below); err != nil {
		return nil, err
	}
	return s.changes(k.ID, below, o)
}

// PlainChanges is KeptChanges for a process outside of the user namespace; dir is
// that of the driver roots. A file that only its owner may look at is an error
// that is fs.ErrPermission. Where owners are told by records, trees are full
// copies, or the tree below has to be made first, the error is
// errors.ErrUnsupported: inside the namespace it can be done. single says that
// one id is mapped.
func PlainChanges(dir, owner string, single bool, o ChangeOptions) (layer.Source, error) {
	k, err := ReadKept(dir, owner)
	if err != nil {
		return nil, err
	}
	boot, err := bootid.Get()
	if err != nil {
		return nil, err
	}
	if single || isVFS(k.Root) || DriverOf(k.Root) == Stacked || k.Boot != boot {
		return nil, errors.ErrUnsupported
	}
	dirs, err := KeptDirs(dir, owner)
	if err != nil {
		return nil, fmt.Errorf("tree of %s: %w", owner, errors.Join(errors.ErrUnsupported, err))
	}
	return layer.Upper(dirs[0], layer.NewTree(dirs[1:]), o.upper(layer.Flavor(DriverOf(k.Root)), true)), nil
}

// KeptDirs gives the directories that make up the kept tree of an owner, the top
// one first; dir is that of the driver roots. All of them are there.
func KeptDirs(dir, owner string) ([]string, error) {
	k, err := ReadKept(dir, owner)
	if err != nil {
		return nil, err
	}
	ids, err := Stack(dir, k.Root, k.ID)
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(ids))
	for i, id := range ids {
		dirs[i] = TreePath(dir, k.Root, id)
	}
	return dirs, nil
}
