package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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

// directoryEnv is where they look for the directories that a user has chosen.
const directoryEnv = "SSL_CERT_DIR"

// directories are where authorities lie in files of their own.
var directories = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}

// Installed tells whether the machine has any authority, beside a file that this
// process is given in place of the machine's. What can't be read isn't taken for empty.
func Installed() bool { return installed("/") }

// installed is Installed for a machine whose files lie in root.
func installed(root string) bool {
	var files []string
	for _, path := range bundles {
		files = append(files, filepath.Join(root, path))
	}
	dirs := directories
	if chosen := os.Getenv(directoryEnv); chosen != "" {
		dirs = filepath.SplitList(chosen)
	}
	for _, dir := range dirs {
		dir = filepath.Join(root, dir)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true
		}
		for _, e := range entries {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return slices.ContainsFunc(files, mayCertify)
}

// mayCertify tells whether a file has a certificate, or can't be looked into.
func mayCertify(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if !st.Mode().IsRegular() {
		return false
	}
	data, err := readBounded(path)
	if err != nil {
		return true
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			return true
		}
	}
	return false
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
