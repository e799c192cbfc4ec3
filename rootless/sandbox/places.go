package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// badPlace finds out, after a runtime has failed, whether the image has something in the
// way of what is mounted over it: runtimes tell that in words of their own. It is "" where
// nothing is. What the user mounts is not the image's.
func badPlace(s Spec) string {
	s.Mounts, s.Devices = nil, nil
	for _, p := range MountPoints(s) {
		bad := badFile
		if p.Dir {
			bad = badDir
		}
		if why := bad(s.RootFS, p.Path); why != "" {
			return "the image's " + why
		}
	}
	return ""
}

// badDir tells what is wrong with a directory that the sandbox mounts on.
func badDir(root, path string) string {
	info, err := os.Lstat(filepath.Join(root, path))
	switch {
	case err != nil || info.IsDir():
		return ""
	case info.Mode()&fs.ModeSymlink != 0:
		return path + " is a link"
	}
	return path + " is no directory"
}

// badFile does so for a file, to which links may lead inside the root.
func badFile(root, path string) string {
	at, err := securejoin.SecureJoin(root, path)
	if err != nil {
		return path + " can't be reached: " + err.Error()
	}
	if info, err := os.Lstat(at); err == nil && info.IsDir() {
		return path + " is a directory"
	}
	if target, err := os.Readlink(filepath.Join(root, path)); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join("/", filepath.Dir(path), target)
		}
		if strings.HasPrefix(filepath.Clean(target), "/proc/") {
			return path + " is a link into /proc"
		}
	}
	parent := filepath.Dir(path)
	if info, err := os.Lstat(filepath.Join(root, parent)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return parent + " is a link"
	} else if err == nil && !info.IsDir() {
		return parent + " is no directory"
	}
	return ""
}
