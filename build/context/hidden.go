package context

import (
	"context"
	"strings"

	"github.com/builder-oci/builder/internal/dirnames"
	"github.com/builder-oci/builder/internal/pathorder"
	"golang.org/x/sys/unix"
)

// Hidden gives the paths of what Walk left out when it gave these entries, of
// a directory with all beneath it: not what is in a directory that was left out
// as a whole. Sockets are among them, or who sees the directory itself could
// talk to those behind them. Nothing but names is read.
func (d *Dir) Hidden(ctx context.Context, entries func(func(*Entry) error) error) ([]string, error) {
	h := &hiding{dir: d, buf: make([]byte, dirnames.Buffer)}
	err := entries(func(e *Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return h.pass(e)
	})
	h.leave(0)
	return h.hidden, err
}

// hiding compares the names in directories with those that a walk gives.
type hiding struct {
	dir    *Dir
	buf    []byte
	above  []passed // the directories that lead to where the walk is
	hidden []string
}

// passed is a directory of which the walk has given the first names.
type passed struct {
	path  string
	names dirnames.List
	next  int
}

func (h *hiding) pass(e *Entry) error {
	depth := len(h.above)
	for depth > 0 && !pathorder.Beneath(h.above[depth-1].path, e.Path) {
		depth--
	}
	h.leave(depth)
	if depth > 0 {
		in := &h.above[depth-1]
		name := Below(in.path, e.Path)
		h.hide(in, func(next string) bool { return next < name })
		if in.next < in.names.Len() && in.names.At(in.next) == name && !e.IsSocket() {
			in.next++
		}
	}
	if !e.IsDir() {
		return nil
	}
	list, err := h.dir.names(e.Path, h.buf)
	h.above = append(h.above, passed{path: e.Path, names: list})
	return err
}

// leave says that the walk has left directories: nothing more of them is kept.
func (h *hiding) leave(depth int) {
	for i := len(h.above) - 1; i >= depth; i-- {
		h.hide(&h.above[i], func(string) bool { return true })
	}
	h.above = h.above[:depth]
}

// hide notes names of a directory while they are such.
func (h *hiding) hide(in *passed, such func(string) bool) {
	for ; in.next < in.names.Len() && such(in.names.At(in.next)); in.next++ {
		h.hidden = append(h.hidden, in.names.Path(in.path, in.next))
	}
}

// names gives the names in a directory, none where it is gone.
func (d *Dir) names(dir string, buf []byte) (dirnames.List, error) {
	fd, err := d.openPath(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if isMissing(err) {
		return dirnames.List{}, nil
	}
	if err != nil {
		return dirnames.List{}, d.unreadable(dir, err)
	}
	defer closeFD(fd)
	list, err := dirnames.Read(fd, buf)
	if err != nil {
		return dirnames.List{}, d.unreadable(dir, err)
	}
	return list, nil
}

// Below gives a path as it is seen from a directory above it.
func Below(dir, path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
}
