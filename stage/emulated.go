package stage

import (
	"errors"

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
// mounted any more, and gives back what seen has. It may be nil.
func NoteOwners(active *snapshot.Active, seen *emulate.Seen) error {
	if seen == nil || seen.Files == nil {
		return nil
	}
	err := active.NoteOwners(func(fn func(layer.SetOwner) error) error {
		return seen.Files.Each(func(f emulate.File) error {
			return fn(layer.SetOwner{
				Path: f.Path, Inode: f.Inode, Born: f.Times.Born, Changed: f.Times.Changed,
				Owner: layer.Owner{UID: f.Owner.UID, GID: f.Owner.GID},
			})
		})
	})
	return errors.Join(err, seen.Files.Close())
}
