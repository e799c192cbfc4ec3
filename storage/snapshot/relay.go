package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// relay replaces the list of the trees below, by rename: so the tree stands on the
// one or the other. What the kernel has noted of the old ones goes first.
func (d *overlayDriver) relay(id, parent string) error {
	if parent == "" {
		return nil // scratch is the same always
	}
	if err := d.forgetLower(id); err != nil {
		return err
	}
	lower, err := d.lowerAbove(parent)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(d.home, id, "lower"), []byte(lower), 0o666)
}

// lowerAbove is the list of a tree above parent, in the driver's own form.
func (d *overlayDriver) lowerAbove(parent string) (string, error) {
	link, err := os.ReadFile(filepath.Join(d.home, parent, "link"))
	if err != nil {
		return "", err
	}
	names := []string{filepath.Join(linksDir, string(link))}
	below, err := os.ReadFile(filepath.Join(d.home, parent, "lower"))
	if ignoreAbsent(err) != nil {
		return "", err
	}
	if len(below) > 0 {
		names = append(names, string(below))
	}
	return strings.Join(names, ":"), nil
}

// forgetLower takes off what ties the upper directory to the ones below: where the
// kernel has overlay's index on, it refuses to mount over any others.
func (d *overlayDriver) forgetLower(id string) error {
	for _, name := range []string{"user.overlay.origin", "user.overlay.uuid"} {
		err := unix.Lremovexattr(d.top(id), name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return &os.PathError{Op: "removexattr", Path: d.top(id), Err: err}
		}
	}
	work := filepath.Join(d.home, id, "work")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return os.Mkdir(work, 0o700)
}
