package container

import (
	"fmt"
	"path/filepath"

	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// showTrust mounts the authorities that the user trusts, for what the image at rootfs
// holds now. The image's own files stay as they are: a container can be killed, or
// committed while it runs.
func (m *Monitor) showTrust(rootfs string) ([]sandbox.Mount, error) {
	authorities := trust.FromPEM([]byte(m.Config.Authorities))
	if authorities.None() {
		return nil, nil
	}
	dir := filepath.Join(m.runDir(), "trust")
	if err := authorities.WriteFiles(dir, rootfs); err != nil {
		return nil, fmt.Errorf("show the certificate authorities: %w", err)
	}
	return []sandbox.Mount{{
		Type: "bind", Source: dir, Destination: trust.Dir, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	}}, nil
}
