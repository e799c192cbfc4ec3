package stage

import (
	"context"
	"fmt"
)

// HostMount is buildah's --volume: a directory or file of the host that every
// RUN sees. What it holds is in no key, and what a command writes there stays.
type HostMount struct {
	Source   string `json:"source"` // absolute
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

func (m HostMount) declaration() string {
	return fmt.Sprintf("volume source=%q target=%q %s", m.Source, m.Target, readOnly(m.ReadOnly))
}

func (m HostMount) target() string { return m.Target }

func (m HostMount) reads() (Source, string) { return nil, "" }

func (m HostMount) attach(_ context.Context, a *attachment, _ *shown) error {
	a.lend(m.Source, m.Target, "rbind", "nosuid", "nodev", readOnly(m.ReadOnly))
	return nil
}
