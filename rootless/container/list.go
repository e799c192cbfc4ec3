package container

import (
	"os"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Found is a container as it stands on disk.
type Found struct {
	Config Config
	State  State
}

// List gives the containers in the directory dir of all. What can't be read is
// left out, as one that comes or goes meanwhile; and so is what Sweep removes.
func List(dir string) []Found {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []Found
	for _, name := range names {
		if strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			continue
		}
		if c, s, err := Load(dir, name.Name()); err == nil && (!c.Remove || s.Status != StatusExited && s.Status != StatusDead) {
			list = append(list, Found{c, s})
		}
	}
	return list
}

// Damaged gives the containers in the directory dir whose records can't be read.
func Damaged(dir string) []Found {
	return slices.DeleteFunc(List(dir), func(f Found) bool { return f.Config.Damage == "" && f.State.Damage == "" })
}
