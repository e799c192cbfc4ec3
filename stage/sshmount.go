package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/builder-oci/builder/internal/fault"
)

// SSH is what an ssh mount leads to: an agent's socket, or keys in files.
type SSH struct {
	Socket string   `json:"socket,omitempty"`
	Keys   []string `json:"keys,omitempty"`
}

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
	answer, err := source.open()
	if err != nil {
		return err
	}
	path := filepath.Join(a.spec.StateDir, fmt.Sprintf("ssh-%d", n))
	if err := a.serve(path, answer); err != nil {
		return err
	}
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

// open gives the function that answers one connection.
func (s SSH) open() (func(net.Conn), error) {
	if len(s.Keys) == 0 {
		return func(c net.Conn) {
			upstream, err := net.Dial("unix", s.Socket)
			if err != nil {
				return
			}
			defer upstream.Close()
			_ = agent.ServeAgent(signer{agent.NewClient(upstream)}, c) // ends with the connection
		}, nil
	}
	keys := agent.NewKeyring()
	for _, path := range s.Keys {
		if err := addKey(keys, path); err != nil {
			return nil, err
		}
	}
	return func(c net.Conn) { _ = agent.ServeAgent(signer{keys.(agent.ExtendedAgent)}, c) }, nil
}

func addKey(keys agent.Agent, path string) error {
	text, err := os.ReadFile(path) // named by the user on the command line
	if err != nil {
		return fault.New("see what --ssh names", "the ssh key can't be read: %w", err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return fault.New("add it to an agent with ssh-add, and pass that: --ssh default",
			"the ssh key %s has a passphrase", path)
	}
	if err != nil {
		return fault.New("name a private key, or an agent's socket", "%s is no ssh key: %w", path, err)
	}
	return keys.Add(agent.AddedKey{PrivateKey: key, Comment: filepath.Base(path)})
}

// serve answers at a socket until the sandbox is gone.
func (a *attachment) serve(path string, answer func(net.Conn)) error {
	// A socket's path is bounded at 107 bytes; that of a store may be longer.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for ssh: %w", err)
	}
	l.SetUnlinkOnClose(false)
	s := &sshServer{answer: answer, open: map[net.Conn]bool{}}
	s.running.Go(func() { s.accept(l) })
	a.undo = append(a.undo, func() error {
		err := l.Close()
		s.closeAll()
		s.running.Wait()
		return err
	})
	return nil
}

// sshServer answers the connections at one socket.
type sshServer struct {
	answer  func(net.Conn)
	running sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

func (s *sshServer) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[c] = true
		s.mu.Unlock()
		s.running.Go(func() {
			s.answer(c)
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

// closeAll ends what a command left open.
func (s *sshServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

// signer is an agent that lists keys and signs. What would change it is
// refused.
type signer struct{ agent.ExtendedAgent }

var errReadOnlyAgent = errors.New("a build may only list keys and sign")

func (signer) Add(agent.AddedKey) error       { return errReadOnlyAgent }
func (signer) Remove(ssh.PublicKey) error     { return errReadOnlyAgent }
func (signer) RemoveAll() error               { return errReadOnlyAgent }
func (signer) Lock([]byte) error              { return errReadOnlyAgent }
func (signer) Unlock([]byte) error            { return errReadOnlyAgent }
func (signer) Signers() ([]ssh.Signer, error) { return nil, errReadOnlyAgent }

// Extension answers none: some of them change the agent.
func (signer) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}
