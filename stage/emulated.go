package stage

import (
	"github.com/builder-oci/builder/rootless/emulate"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// RecordedOwner gives the owners that a tree has on record for links and special
// files, to those who emulate ids.
func RecordedOwner(active *snapshot.Active) func(string) (emulate.Owner, bool) {
	return func(path string) (emulate.Owner, bool) {
		o, ok := active.RecordedOwner(path)
		return emulate.Owner{UID: o.UID, GID: o.GID}, ok
	}
}

// NoteOwners puts on record who got links and special files of a tree that isn't
// mounted any more. seen may be nil.
func NoteOwners(active *snapshot.Active, seen *emulate.Seen) error {
	if seen == nil {
		return nil
	}
	set := make([]layer.SetOwner, len(seen.Files))
	for i, f := range seen.Files {
		set[i] = layer.SetOwner{Path: f.Path, Inode: f.Inode, Owner: layer.Owner{UID: f.Owner.UID, GID: f.Owner.GID}}
	}
	return active.NoteOwners(set)
}
