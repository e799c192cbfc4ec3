package build

import (
	"os/exec"
	"path/filepath"

	"github.com/builder-oci/builder/build/fetch"
	"github.com/builder-oci/builder/internal/fault"
)

// sshDefault is the ssh access that git gets, as in BuildKit.
const sshDefault = "default"

// access is what git gets of the build's secrets and keys, for an address that
// the user or a Dockerfile names.
func access(o Options, asCaller func(*exec.Cmd), asUser bool) fetch.Access {
	a := fetch.Access{AsUser: asUser, AsCaller: asCaller, Secret: func(name string) ([]byte, bool, error) {
		secret, given := o.Secrets[name]
		if !given {
			return nil, false, nil
		}
		value, err := secret.Read()
		if err != nil {
			err = fault.New("see what --secret names", "the secret %s can't be read: %w", name, err)
		}
		return value, true, err
	}}
	if given, ok := o.SSH[sshDefault]; ok {
		a.SSH = &fetch.Keys{Socket: given.Socket}
		for _, name := range given.Keys {
			if abs, err := filepath.Abs(name); err == nil { // git works in a directory of its own
				name = abs
			}
			a.SSH.Files = append(a.SSH.Files, name)
		}
	}
	return a
}
