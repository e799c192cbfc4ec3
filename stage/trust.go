package stage

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// showTrust gives a sandbox the files with the authorities that the user trusts, which
// trusting fills. Each is mounted by itself: where nothing can be mounted, files are
// copied in its stead, and directories are refused. It comes after the mounts of
// secrets, which put a tmpfs over the sandbox's directory.
func (s Settings) showTrust(spec *sandbox.Spec) error {
	if s.Trust.None() {
		return nil
	}
	if err := os.Mkdir(trustDir(*spec), 0o755); err != nil {
		return err
	}
	for _, name := range trust.Names() {
		file := filepath.Join(trustDir(*spec), name)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, sandbox.Mount{
			Type: "bind", Source: file, Destination: trust.Dir + "/" + name, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	return nil
}

func trustDir(spec sandbox.Spec) string { return filepath.Join(spec.StateDir, "trust") }

// trusting has the root file system that is mounted trust the authorities until hide
// is called, which is before it is unmounted.
func (s Settings) trusting(spec *sandbox.Spec) (hide func() error, err error) {
	if s.Trust.None() {
		return func() error { return nil }, nil
	}
	if err := s.Trust.WriteFiles(trustDir(*spec), spec.RootFS); err != nil {
		return nil, fmt.Errorf("show the certificate authorities: %w", err)
	}
	take, err := s.Trust.Show(spec.RootFS)
	if err != nil {
		return nil, fmt.Errorf("show the certificate authorities: %w", err)
	}
	return func() error {
		if err := take(); err != nil {
			return fmt.Errorf("take the certificate authorities out of the tree again: %w", err)
		}
		return nil
	}, nil
}
