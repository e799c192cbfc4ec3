package container

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// lockNames keeps the names of all containers as they are, until it is closed.
func lockNames(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR { //nolint:errorlint // a bare number
			return err
		}
	}
}

// checkName tells whether a name is free.
func checkName(dir, name string) error {
	if name == "" {
		return nil
	}
	for _, found := range List(dir) {
		if found.Config.Name == name {
			return fault.New("builder rm "+name+"    # removes it; or builder rename",
				"Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.",
				"/"+name, found.Config.ID)
		}
	}
	return nil
}
