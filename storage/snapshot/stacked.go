package snapshot

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// stackedDriver keeps what an overlay driver would: each tree is the directory of
// its own changes, and a list of the trees that it stands on. But nothing is ever
// mounted. It is for those who may mount nothing, as an ordinary user without a
// namespace: what only writes files needs no more, and copies nothing.
type stackedDriver struct{ home string }

func (d *stackedDriver) create(_ context.Context, id, parent string) error {
	if err := os.MkdirAll(d.top(id), 0o700); err != nil {
		return err
	}
	if parent == "" {
		return os.Chmod(d.top(id), 0o755)
	}
	if err := d.relay(id, parent); err != nil {
		return err
	}
	st, err := os.Lstat(d.top(parent))
	if err != nil {
		return err
	}
	if err := os.Chmod(d.top(id), st.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(d.top(id), st.ModTime(), st.ModTime())
}

func (d *stackedDriver) top(id string) string { return filepath.Join(d.home, id, topDir) }

func (d *stackedDriver) idOf(top string) string { return filepath.Base(filepath.Dir(top)) }

func (d *stackedDriver) stack(id string) ([]string, error) {
	ids, err := stackedIDs(d.home, id)
	if err != nil {
		return nil, err
	}
	return tops(d, ids), nil
}

// relay writes the list of the trees below.
func (d *stackedDriver) relay(id, parent string) error {
	if parent == "" {
		return nil
	}
	ids, err := stackedIDs(d.home, parent)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.home, id, lowerFile), []byte(strings.Join(ids, "\n")), 0o600)
}

// stackedIDs gives the ids of a tree and of those that it stands on, the top one
// first.
func stackedIDs(home, id string) ([]string, error) {
	lower, err := os.ReadFile(filepath.Join(home, id, lowerFile))
	if ignoreAbsent(err) != nil {
		return nil, err
	}
	return append([]string{id}, strings.Fields(string(lower))...), nil
}

func (d *stackedDriver) mount(string, bool) (string, error) {
	return "", fault.New("see what stands in the way of a user namespace: builder doctor",
		"an image's files can't be put together in one directory without a user namespace")
}

func (d *stackedDriver) sync(string) error { return nil }

func (d *stackedDriver) unmount(string) error { return nil }

func (d *stackedDriver) wait(string) error { return nil }

func (d *stackedDriver) drop(string) error { return nil }

func (d *stackedDriver) close() error { return nil }

func (d *stackedDriver) changes(id string, parent *layer.Tree, o layer.UpperOptions) (layer.Source, error) {
	return layer.Upper(d.top(id), parent, o), nil
}
