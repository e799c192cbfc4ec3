package stage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// BindMount is type=bind: files of the build context, a stage or an image. What
// the command writes to them is thrown away.
type BindMount struct {
	Target string `json:"target"`
	From   Source `json:"-"`
	// Source is the path in From, "" for all of it.
	Source   string `json:"source,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

func (m BindMount) declaration() string {
	return fmt.Sprintf("bind target=%q %s", m.Target, readOnly(m.ReadOnly))
}

func (m BindMount) target() string { return m.Target }

func (m BindMount) reads() (Source, string) { return m.From, m.Source }

func (m BindMount) attach(ctx context.Context, a *attachment, s *shown) error {
	path, err := a.show(ctx, s)
	if err != nil {
		return err
	}
	a.move(path, m.Target, "rbind", readOnly(m.ReadOnly))
	return nil
}

// Directory is Files that lie in a directory of the host.
type Directory interface {
	Files
	// Directory gives the absolute path of the directory that Walk lists at
	// path, and the paths below it that Walk leaves out, as slash-separated
	// paths from there. ok is false where what lies there isn't otherwise what
	// Walk tells of it, such as files of other owners.
	Directory(ctx context.Context, path string) (dir string, hidden []string, ok bool, err error)
}

// show gives the path of what a mount shows. It may be written to, by the
// runtime too, which makes missing mount points: it is never the source itself.
func (a *attachment) show(ctx context.Context, s *shown) (string, error) {
	if s.source != nil {
		return a.showTree(ctx, s)
	}
	if files, ok := s.files.(Directory); ok && s.isDir() {
		path, err := a.cover(ctx, files, s.match.Path)
		if path != "" || err != nil {
			return path, err
		}
	}
	return a.showCopy(ctx, s)
}

// showTree mounts a stage's or an image's tree under a layer of its own.
func (a *attachment) showTree(ctx context.Context, s *shown) (string, error) {
	active, root, err := a.r.Snapshots.View(ctx, s.source.Tree)
	if err != nil {
		return "", err
	}
	a.undo = append(a.undo, active.Discard)
	// The path was resolved inside the tree, and nothing has run in it since.
	return filepath.Join(root, s.match.Path), nil
}

// cover shows a directory where it lies, "" where that isn't possible.
func (a *attachment) cover(ctx context.Context, files Directory, path string) (string, error) {
	dir, hidden, ok, err := files.Directory(ctx, path)
	if err != nil || !ok {
		return "", err
	}
	aside, err := a.aside()
	if err != nil {
		return "", err
	}
	shown, uncover, err := a.r.Snapshots.Cover(ctx, dir, hidden, aside)
	if errors.Is(err, snapshot.ErrNoCover) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	a.undo = append(a.undo, uncover)
	return shown, nil
}

// showCopy copies the files.
func (a *attachment) showCopy(ctx context.Context, s *shown) (string, error) {
	active, err := a.r.Snapshots.Prepare(ctx, "")
	if err != nil {
		return "", err
	}
	a.undo = append(a.undo, active.Discard)
	const name = "mount"
	w := active.Writer()
	if err := writeBelow(ctx, w, name, s.files, s.match.Path); err != nil {
		return "", errors.Join(err, w.Close())
	}
	return filepath.Join(active.Upper(), name), w.Close()
}

// writeBelow writes the entry at path and all below it under another name.
func writeBelow(ctx context.Context, w *layer.DirWriter, name string, files Files, path string) error {
	return files.Walk(ctx, path, func(f *File) error {
		copied := f.Entry
		rel, err := filepath.Rel("/"+path, "/"+f.Path)
		if err != nil {
			return err
		}
		copied.Path = filepath.Join(name, rel)
		if copied.Type == tar.TypeLink {
			copied.Linkname = filepath.Join(name, copied.Linkname)
		}
		return w.Write(&copied)
	})
}
