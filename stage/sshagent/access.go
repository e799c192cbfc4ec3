// Package sshagent lets the commands of a build use ssh keys: it answers at a
// socket as an ssh agent does, for an agent of the user's or with keys in files.
// Who asks can list keys and have them sign, and nothing else.
package sshagent

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/builder-oci/builder/internal/fault"
)

// Access is what leads to keys: an agent's socket, or files of private keys.
type Access struct {
	Socket string   `json:"socket,omitempty"`
	Keys   []string `json:"keys,omitempty"`
}

// There tells why keys or agent can't be used, nil where they are there.
func (a Access) There() error {
	for _, name := range append(slices.Clone(a.Keys), a.Socket) {
		if name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return err
		}
	}
	return nil
}

// Open gives the function that answers one connection. Keys that can't be used are
// a *fault.Error.
func (a Access) Open() (func(net.Conn), error) {
	if len(a.Keys) == 0 {
		return func(c net.Conn) {
			upstream, err := net.Dial("unix", a.Socket)
			if err != nil {
				return
			}
			defer upstream.Close()
			_ = agent.ServeAgent(signer{agent.NewClient(upstream)}, c) // ends with the connection
		}, nil
	}
	keys := agent.NewKeyring()
	for _, path := range a.Keys {
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
