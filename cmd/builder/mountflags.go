package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/mountspec"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/volume"
)

// mountFlags are docker's of run and create about what a container sees beside its
// image.
func mountFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "show `[SOURCE:]PATH[:ro]`, such as data:/srv or /dir:/srv"},
		&cli.StringSliceFlag{Name: "mount", Usage: "show by `KEY=VALUE,...`, such as type=bind,src=/data,dst=/srv,ro"},
		&cli.StringSliceFlag{Name: "tmpfs", Usage: "have `PATH[:OPTIONS]` in memory, such as /run:size=64m"},
		&cli.StringSliceFlag{Name: "volumes-from", Hidden: true, Usage: "show what `CONTAINER`[:ro] is shown"},
		&cli.StringFlag{Name: "volume-driver", Hidden: true, Usage: "`NAME` of who keeps volumes: local"},
	}
}

// readMountFlags gives what the flags ask for, checked as far as no container is
// needed for that. What goes before what is docker's order: -v and --mount name a
// place once, and win over --volumes-from; that wins over -v with a place alone.
func readMountFlags(c *cli.Context) ([]container.Mount, error) {
	if driver := c.String("volume-driver"); driver != "" && driver != volume.Driver {
		return nil, mountspec.NoDriver(driver)
	}
	var set mountSet
	var unnamed []container.Mount
	for _, flag := range []struct {
		name  string
		parse func(string) (container.Mount, error)
	}{{"volume", mountspec.Volume}, {"mount", mountspec.Mount}, {"tmpfs", mountspec.Tmpfs}} {
		for _, text := range c.StringSlice(flag.name) {
			m, err := flag.parse(text)
			if err != nil {
				return nil, err
			}
			if flag.name == "volume" && m.Anonymous {
				unnamed = append(unnamed, m)
			} else if err := set.add(m); err != nil {
				return nil, err
			}
		}
	}
	inherited, err := inheritedMounts(c, c.StringSlice("volumes-from"))
	if err != nil {
		return nil, err
	}
	for _, m := range append(inherited, unnamed...) {
		_ = set.add(m) // what is named there already wins
	}
	noticeOwners(c, set.mounts)
	return set.mounts, nil
}

// mountSet is mounts on different places.
type mountSet struct{ mounts []container.Mount }

// add is an error, in docker's words, where something is on the place already.
func (s *mountSet) add(m container.Mount) error {
	if slices.ContainsFunc(s.mounts, func(known container.Mount) bool { return known.Destination == m.Destination }) {
		return fault.New("name each place once", "Duplicate mount point: %s", m.Destination)
	}
	if strings.ContainsRune(m.Source+m.Destination, utf8.RuneError) { // by which flags replace such bytes
		return notText(fmt.Sprintf("the mount of %q at %q", m.Source, m.Destination))
	}
	s.mounts = append(s.mounts, m)
	return nil
}

// inheritedMounts are those of other containers, CONTAINER[:ro] each, but for what
// is in memory. Of two on one place the last one's counts.
func inheritedMounts(c *cli.Context, refs []string) ([]container.Mount, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	root, err := storeRoot(c)
	if err != nil {
		return nil, err
	}
	byPlace := map[string]container.Mount{}
	for _, text := range refs {
		ref, readOnly, err := mountspec.Inherited(text)
		if err != nil {
			return nil, err
		}
		config, _, err := container.Find(storage.ContainersDir(root), ref)
		if err != nil {
			return nil, err
		}
		for _, m := range config.Mounts {
			if m.Type != container.MountTmpfs {
				m.ReadOnly, m.NoCopy, m.Chown = m.ReadOnly || readOnly, true, false
				byPlace[m.Destination] = m
			}
		}
	}
	return slices.SortedFunc(maps.Values(byPlace), func(a, b container.Mount) int {
		return strings.Compare(a.Destination, b.Destination)
	}), nil
}
