package stage

import (
	"fmt"
	"path/filepath"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// showTrust gives a sandbox the directory with the authorities that the user trusts;
// trusting fills it.
func (s Settings) showTrust(spec *sandbox.Spec) {
	if s.Trust.None() {
		return
	}
	spec.Mounts = append(spec.Mounts, sandbox.Mount{
		Type: "bind", Source: trustDir(*spec), Destination: trust.Dir, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	})
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
