package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// fileEnv is where OpenSSL and Go look for the bundle that a user has chosen.
const fileEnv = "SSL_CERT_FILE"

// bundles are where systems keep all the authorities that they trust, in one file:
// Debian, Alpine and Arch; Red Hat; SUSE; and what they are links to.
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem",
	"/var/lib/ca-certificates/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// Machine makes a bundle of the machine's authorities and these, in a private
// directory, and gives the environment in which this program and git believe them.
// One that is there already is taken.
func (a Authorities) Machine(dir string) (env []string, err error) {
	base, state := machineBundle()
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s %v\n", base, state)
	_, _ = sum.Write(a.pem)
	path := filepath.Join(dir, hex.EncodeToString(sum.Sum(nil)[:8])+".pem")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := a.writeBundle(path, base); err != nil {
			return nil, fmt.Errorf("keep the certificate authorities: %w", err)
		}
	}
	return []string{fileEnv + "=" + path, "GIT_SSL_CAINFO=" + path}, nil
}

func (a Authorities) writeBundle(path, base string) error {
	var all []byte
	if base != "" {
		var err error
		if all, err = readBounded(base); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteUnsynced(path, a.over(all), 0o600)
}

// machineBundle finds the file, "" for none, and tells its state.
func machineBundle() (path, state string) {
	candidates := bundles
	if chosen := os.Getenv(fileEnv); chosen != "" {
		candidates = []string{chosen}
	}
	for _, path := range candidates {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, fmt.Sprint(st.Size(), st.ModTime().UnixNano())
		}
	}
	return "", ""
}
