package context

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"
)

// Hidden gives the paths of what Walk left out when it gave these entries, of
// a directory with all beneath it: not what is in a directory that was left out
// as a whole. Sockets are among them, or who sees the directory itself could
// talk to those behind them. Nothing but names is read.
func (d *Dir) Hidden(ctx context.Context, entries []*Entry) ([]string, error) {
	kept := make(map[string]bool, len(entries))
	for _, e := range entries {
		kept[e.Path] = !e.IsSocket()
	}
	var hidden []string
	buf := make([]byte, direntBuffer)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		paths, err := d.names(e.Path, buf)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if !kept[p] {
				hidden = append(hidden, p)
			}
		}
	}
	return hidden, nil
}

// names gives the paths of a directory's entries, none where it is gone.
func (d *Dir) names(dir string, buf []byte) ([]string, error) {
	fd, err := d.openPath(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.unreadable(dir, err)
	}
	defer closeFD(fd)
	paths, err := readNames(fd, dir, buf)
	if err != nil {
		return nil, d.unreadable(dir, err)
	}
	return paths, nil
}

// Below gives a path as it is seen from a directory above it.
func Below(dir, path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
}
