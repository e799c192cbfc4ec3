package sandbox

import (
	"context"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/userns"
)

// Probe tells why box can run nothing here, whatever the image; nil where it can.
// It runs this program, to tell its version, with nothing else in the root file
// system. What it needs on the way lies in dir, which must exist.
func Probe(ctx context.Context, box Sandbox, dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err = os.MkdirTemp(dir, "probe-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const program = "/builder"
	mode := network.ModeNone
	if m, err := userns.Current(); MayMount() != nil || err == nil && m.Plain() {
		mode = network.ModeHost // a RUN has none of its own there either
	}
	s := Spec{
		ID: filepath.Base(dir), RootFS: filepath.Join(dir, "root"), StateDir: filepath.Join(dir, "state"),
		Args: []string{program, "version"}, Network: mode,
		Mounts: []Mount{{Type: "bind", Source: exe, Destination: program, Options: []string{"bind", "ro"}}},
	}
	for _, point := range MountPoints(s) {
		at := filepath.Join(s.RootFS, point.Path)
		if point.Dir {
			err = os.MkdirAll(at, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(at), 0o755); err == nil {
			err = os.WriteFile(at, nil, 0o755)
		}
		if err != nil {
			return err
		}
	}
	exit, err := box.Run(ctx, s)
	if err == nil && exit.Code != 0 {
		return fault.New("", "a program that only tells its version ended with exit code %d", exit.Code)
	}
	return err
}
