package transport

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/atomicfile"
)

const (
	// RegistriesEnv names a file in place of registries.conf, as other tools
	// for containers have it.
	RegistriesEnv = "CONTAINERS_REGISTRIES_CONF"
	// CertsEnv names a directory in place of certs.d, for builder's own processes.
	CertsEnv = "_BUILDER_CERTS"
)

// ExtendRegistries writes a registries.conf that says what is said without it, and
// more besides.
func ExtendRegistries(file, more string) error {
	said, err := os.ReadFile(registriesFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(said) > 0 {
		said = append(said, '\n')
	}
	return atomicfile.Write(file, append(said, more...), 0o600)
}

// registriesFile is the one that the library reads: the user's goes before the
// machine's.
func registriesFile() string {
	if file := os.Getenv(RegistriesEnv); file != "" {
		return file
	}
	if dir, err := os.UserConfigDir(); err == nil {
		if file := filepath.Join(dir, "containers/registries.conf"); isThere(file) {
			return file
		}
	}
	return "/etc/containers/registries.conf"
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// CompleteCerts adds to a directory for CertsEnv what certs.d has of other
// registries: the library looks in no second one then.
func CompleteCerts(dir string) error {
	for _, others := range certDirs() {
		entries, err := os.ReadDir(others)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			err := os.Symlink(filepath.Join(others, e.Name()), filepath.Join(dir, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// certDirs are the library's own places.
func certDirs() []string {
	dirs := []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}
	if dir, err := os.UserConfigDir(); err == nil {
		dirs = append([]string{filepath.Join(dir, "containers/certs.d")}, dirs...)
	}
	return dirs
}
