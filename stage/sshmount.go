package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage/sshagent"
)

// SSHMount is type=ssh: a socket at which an ssh agent answers. Commands can
// list keys and have them sign, and nothing else; the keys aren't theirs.
type SSHMount struct {
	ID string `json:"id"`
	// Target is the socket's path, "" for one of builder's choice.
	Target   string `json:"target,omitempty"`
	Required bool   `json:"required,omitempty"`
	// Owner is the socket's; its mode is 0600 where none is given.
	Owner Owner `json:"owner,omitzero"`
}

func (m SSHMount) declaration() string {
	return fmt.Sprintf("ssh id=%q target=%q required=%t %s", m.ID, m.Target, m.Required, m.Owner)
}

func (m SSHMount) target() string { return m.Target }

func (m SSHMount) reads() (Source, string) { return nil, "" }

func (m SSHMount) attach(_ context.Context, a *attachment, _ *shown) error {
	n := a.ssh
	a.ssh++
	source, known := a.r.Settings.SSH[m.ID]
	if !known {
		if !m.Required {
			return nil
		}
		return fault.New("pass it: --ssh "+m.ID+", or --ssh "+m.ID+"=KEYFILE",
			"ssh access %s is required, and the build wasn't given it", m.ID)
	}
	target := m.Target
	if target == "" {
		target = fmt.Sprintf("/run/buildkit/ssh_agent.%d", n)
	}
	answer, err := source.Open()
	if err != nil {
		return err
	}
	path := filepath.Join(a.spec.StateDir, fmt.Sprintf("ssh-%d", n))
	stop, err := sshagent.Serve(path, answer)
	if err != nil {
		return err
	}
	a.undo = append(a.undo, stop)
	uid, gid := m.Owner.ids()
	if err := a.own(path, uid, gid); err != nil {
		return err
	}
	if err := os.Chmod(path, m.Owner.mode(0o600)); err != nil {
		return err
	}
	a.add("bind", path, target, "bind", "nosuid", "nodev", "noexec")
	if n == 0 {
		a.spec.SecretEnv = append(a.spec.SecretEnv, "SSH_AUTH_SOCK="+target)
	}
	return nil
}
