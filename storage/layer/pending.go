package layer

import (
	"errors"

	"github.com/builder-oci/builder/internal/spool"
)

// Pending is what an unpacked layer still lacks, because only the layers below
// can tell it. It is kept out of memory, for a layer may have any number of files; and
// it has what came in the tar, of which the directory shows what is left. A nil one
// lacks nothing.
type Pending struct {
	opaqueRoot bool
	dirs       *spool.Paths // that the tar has
	whiteouts  *spool.Paths // names that it deletes
	implied    *spool.Map   // directories that it lacks
	links      *spool.Map   // hard links to files of the layers below, with their targets
}

func newPending(temp string) *Pending {
	return &Pending{
		dirs: spool.NewPaths(temp), whiteouts: spool.NewPaths(temp),
		implied: spool.NewMap(temp), links: spool.NewMap(temp),
	}
}

// Close gives everything back.
func (p *Pending) Close() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.dirs.Close(), p.whiteouts.Close(), p.implied.Close(), p.links.Close())
}

// described notes that the tar has a directory.
func (p *Pending) described(path string) error {
	if p == nil {
		return nil
	}
	return errors.Join(p.implied.Delete(path), p.dirs.Add(path))
}

// imply notes a directory that no entry has described so far.
func (p *Pending) imply(path string) error {
	if p == nil {
		return nil
	}
	return p.implied.Set(path, "")
}

// hid notes that a name is deleted.
func (p *Pending) hid(path string) error {
	if p == nil {
		return nil
	}
	return p.whiteouts.Add(path)
}

// link notes a hard link.
func (p *Pending) link(path, target string) error { return p.links.Set(path, target) }

// target gives where a hard link of the layers below leads, and says whether path is
// one.
func (p *Pending) target(path string) (target string, ok bool, err error) {
	if p == nil {
		return "", false, nil
	}
	return p.links.Get(path)
}

// unlink notes that something else takes the place of a hard link.
func (p *Pending) unlink(path string) error {
	if p == nil {
		return nil
	}
	return p.links.Delete(path)
}

// removed notes that a directory is gone.
func (p *Pending) removed(dir string) error {
	if p == nil {
		return nil
	}
	return deleteWithin(p.links, dir)
}
