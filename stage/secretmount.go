package stage

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
)

// MaxSecret is how large a secret may be, in bytes: BuildKit's bound.
const MaxSecret = 500 << 10

// Secret is where the value of a secret comes from: a file or a variable of
// builder's own environment. It is read when a command that asks for it is
// executed, and kept nowhere.
type Secret struct {
	File string `json:"file,omitempty"`
	Env  string `json:"env,omitempty"`
}

// Read gives the value. A missing one wraps fs.ErrNotExist.
func (s Secret) Read() ([]byte, error) {
	if s.Env != "" {
		value, set := os.LookupEnv(s.Env)
		if !set {
			return nil, fmt.Errorf("the environment variable %s isn't set: %w", s.Env, fs.ErrNotExist)
		}
		return []byte(value), nil
	}
	f, err := os.Open(s.File) // named by the user on the command line
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSecret+1))
	if err == nil && len(data) > MaxSecret {
		err = fmt.Errorf("%s is larger than %d bytes", s.File, MaxSecret)
	}
	return data, err
}

// SecretMount is type=secret: a value that the command sees as a file, a
// variable of its environment, or both. Neither its value nor whether there is
// one is in any key.
type SecretMount struct {
	ID string `json:"id"`
	// Target is the file's path, "" for no file.
	Target string `json:"target,omitempty"`
	// Env is the variable's name, "" for none.
	Env      string `json:"env,omitempty"`
	Required bool   `json:"required,omitempty"`
	// Owner is the file's; its mode is 0400 where none is given.
	Owner Owner `json:"owner,omitzero"`
}

func (m SecretMount) declaration() string {
	return fmt.Sprintf("secret id=%q target=%q env=%q required=%t %s", m.ID, m.Target, m.Env, m.Required, m.Owner)
}

func (m SecretMount) target() string { return m.Target }

func (m SecretMount) reads() (Source, string) { return nil, "" }

func (m SecretMount) attach(_ context.Context, a *attachment, _ *shown) error {
	data, err := m.value(a.r)
	if err != nil {
		return err
	}
	if m.Env != "" {
		a.spec.SecretEnv = append(a.spec.SecretEnv, m.Env+"="+string(data))
	}
	if m.Target == "" || data == nil {
		return nil
	}
	path := filepath.Join(a.spec.StateDir, "secret-"+newID())
	if err := os.WriteFile(path, data, 0o400); err != nil {
		return fmt.Errorf("write a secret into memory: %w", err)
	}
	uid, gid := m.Owner.ids()
	if err := a.own(path, uid, gid); err != nil {
		return err
	}
	if err := os.Chmod(path, m.Owner.mode(0o400)); err != nil {
		return err
	}
	a.add("bind", path, m.Target, "bind", "ro", "nosuid", "nodev", "noexec")
	return nil
}

// value gives the secret, nil where there is none and none is required.
func (m SecretMount) value(r *Runner) ([]byte, error) {
	secret, known := r.Settings.Secrets[m.ID]
	if !known {
		if !m.Required {
			return nil, nil
		}
		return nil, fault.New(fmt.Sprintf("pass it: --secret id=%[1]s,src=FILE or --secret id=%[1]s,env=NAME", m.ID),
			"the secret %s is required, and the build wasn't given it", m.ID)
	}
	data, err := secret.Read()
	if err != nil {
		return nil, fault.New("see what --secret names", "the secret %s can't be read: %w", m.ID, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}
