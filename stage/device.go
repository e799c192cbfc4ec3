package stage

import (
	"context"
	"fmt"
)

// HostDevice is --device: a device of the host, or a directory of devices, that
// every RUN sees. There is no device cgroup without root, so that what a command
// may do with it is what the user may.
type HostDevice struct {
	Source string `json:"source"` // absolute
	Target string `json:"target"`
}

func (m HostDevice) declaration() string {
	return fmt.Sprintf("device source=%q target=%q", m.Source, m.Target)
}

func (m HostDevice) target() string { return m.Target }

func (m HostDevice) reads() (Source, string) { return nil, "" }

func (m HostDevice) attach(_ context.Context, a *attachment, _ *shown) error {
	a.lend(m.Source, m.Target, "rbind", "nosuid", "noexec")
	return nil
}
