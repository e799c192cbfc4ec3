package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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

// Rename gives the container that ref means, in the directory dir of all, another
// name.
func Rename(dir, ref, name string) error {
	names, err := lockNames(dir)
	if err != nil {
		return err
	}
	defer func() { _ = names.Close() }()
	found, _, err := Find(dir, ref)
	if err != nil {
		return err
	}
	err = rewrite(filepath.Join(dir, found.ID), func(c *Config) error {
		if c.Name == name {
			return fault.New("", "Renaming a container with the same name as its current name")
		}
		c.Name, err = freeName(dir, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return Unknown(ref) // it has been removed meanwhile
	}
	return err
}

// rewrite changes the config in a container's own directory, while the names are
// locked.
func rewrite(own string, change func(*Config) error) error {
	var c Config
	path := filepath.Join(own, configFile)
	if err := readRecord(path, &c); err != nil {
		return err
	}
	if err := change(&c); err != nil {
		return err
	}
	return writeJSON(path, c, !c.Remove)
}

// freeName is the name that was asked for, unless another container has it, or a
// made-up one where none was.
func freeName(dir, name string) (string, error) {
	containers := List(dir)
	if name == "" {
		return anyName(func(name string) bool {
			return slices.ContainsFunc(containers, func(f Found) bool { return f.Config.Name == name })
		}), nil
	}
	for _, found := range containers {
		if found.Config.Name == name {
			return "", fault.New("builder rm "+name+"    # removes it; or builder rename",
				"Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.",
				"/"+name, found.Config.ID)
		}
	}
	return name, nil
}
