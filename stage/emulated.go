package stage

import (
	"github.com/builder-oci/builder/rootless/emulate"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// recordedOwner gives the owners that a tree has on record for links and special
// files, to those who emulate ids.
func recordedOwner(tree *layer.Tree) func(string) (emulate.Owner, bool) {
	return func(path string) (emulate.Owner, bool) {
		n, err := tree.Lstat(path)
		if err != nil {
			return emulate.Owner{}, false
		}
		return emulate.Owner{UID: uint32(n.UID), GID: uint32(n.GID)}, n.UID != 0 || n.GID != 0
	}
}

// noteOwners puts on record who got links and special files.
func noteOwners(active *snapshot.Active, files []emulate.File) error {
	set := make([]layer.SetOwner, len(files))
	for i, f := range files {
		set[i] = layer.SetOwner{Path: f.Path, Inode: f.Inode, Owner: layer.Owner{UID: int(f.Owner.UID), GID: int(f.Owner.GID)}}
	}
	return active.NoteOwners(set)
}
