package chroot

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lookPath gives the path of a command that has no slash, by the PATH of env; in the
// words that other runtimes have for what isn't there.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, fmtError("exec "+name, executable(name))
	}
	var denied error
	for _, variable := range env {
		list, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			path := filepath.Join(dir, name)
			if dir == "" {
				path = "./" + name
			}
			switch err := executable(path); err {
			case nil:
				return path, nil
			case unix.EACCES:
				denied = fmt.Errorf("exec %s: %w", path, err)
			}
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("executable file %q not found in $PATH", name)
}

func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
