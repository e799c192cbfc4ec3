package context

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/pathorder"
)

// Own is a directory in which builder itself keeps files. A build changes them
// while it reads its context.
type Own struct {
	Dir    string
	Called string // in errors
}

// ownDirs are those that lie in a context, by their paths there.
type ownDirs []Own

// inside finds the directories that lie in the context, at any depth. What is
// above each is compared with the context by identity: both may be named by way
// of links and mounts. The context itself isn't in itself.
func (d *Dir) inside(dirs []Own) ownDirs {
	var root, st unix.Stat_t
	if len(dirs) == 0 || unix.Fstat(d.fd, &root) != nil {
		return nil
	}
	var found ownDirs
	for _, own := range dirs {
		dir, err := filepath.EvalSymlinks(own.Dir)
		if err != nil {
			continue // nothing is there
		}
		for above := dir; above != "/"; {
			above = filepath.Dir(above)
			if unix.Stat(above, &st) == nil && st.Dev == root.Dev && st.Ino == root.Ino {
				found = append(found, Own{cleanPath(strings.TrimPrefix(dir, above)), own.Called})
			}
		}
	}
	return found
}

// holding is what errors call the one that a path belongs to, "" for none.
func (o ownDirs) holding(rel string) string {
	for _, own := range o {
		if rel == own.Dir || pathorder.Beneath(own.Dir, rel) {
			return own.Called
		}
	}
	return ""
}

// refuseOwn is an error for a path in one of builder's directories.
func (d *Dir) refuseOwn(rel string) error {
	called := d.own.holding(rel)
	if called == "" {
		return nil
	}
	return fault.New("copy from another place in the build context",
		"%s belongs to %s, which is left out of every build context", rel, called)
}
