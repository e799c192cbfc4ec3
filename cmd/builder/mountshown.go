package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// optionBind, among a mount's options, leaves out what is mounted below the source.
const optionBind = "bind"

// shown is the mount in the runtime's words.
func (m *readyMount) shown() sandbox.Mount {
	if m.Type == container.MountTmpfs {
		options := slices.Clone(m.Options)
		for _, flag := range []string{"exec", "suid", "dev"} { // which nothing in memory has unless it is asked for
			if !slices.Contains(options, flag) && !slices.Contains(options, "no"+flag) {
				options = append(options, "no"+flag)
			}
		}
		return sandbox.Mount{Type: "tmpfs", Source: "tmpfs", Destination: m.place, Options: append(options, access(m.ReadOnly))}
	}
	options := slices.Clone(m.Options)
	recursive := !slices.Contains(options, optionBind)
	if recursive {
		options = append(options, "rbind")
	}
	if !slices.Contains(options, "private") {
		options = append(options, "rprivate")
	}
	if m.ReadOnly && recursive && !m.file && recursiveReadOnly() { // of a file crun takes it amiss
		options = append(options, "rro")
	} else {
		options = append(options, access(m.ReadOnly))
	}
	return sandbox.Mount{Type: "bind", Source: m.Source, Destination: m.place, Options: slices.Compact(options)}
}

// modeOption begins the option that says what mode something in memory has.
const modeOption = "mode="

// mode is that of something in memory.
func (m *readyMount) mode() os.FileMode {
	for _, o := range m.Options {
		if text, is := strings.CutPrefix(o, modeOption); is {
			bits, _ := strconv.ParseUint(text, 8, 12) // it was looked at when it was read
			mode := os.FileMode(bits & 0o777)
			if bits&unix.S_ISVTX != 0 {
				mode |= os.ModeSticky
			}
			return mode
		}
	}
	return 0o755
}

func access(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}

// recursiveReadOnly tells whether what is mounted below a directory can be made
// read-only with it. The kernel can since 5.12.
func recursiveReadOnly() bool {
	return unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}) != unix.ENOSYS
}

// chownAll gives what is at path, with all below it, to an owner inside, as podman's
// option U does. Links are given, and never followed: other containers may be
// changing what is there.
func chownAll(ctx context.Context, path string, uid, gid uint32) error {
	own := func(err error) error {
		if errors.Is(err, unix.EINVAL) {
			return fault.New("give the user subordinate ids: builder info tells how",
				"%s can't belong to %d:%d: this id isn't mapped in the user namespace", path, uid, gid)
		}
		if errors.Is(err, unix.EPERM) {
			return fault.New("leave the option U out, or give them to you before",
				"option U: %s has files that aren't yours to give: %w", path, err)
		}
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return own(os.Chown(path, int(uid), int(gid)))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = root.Lchown(name, int(uid), int(gid))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody has removed it meanwhile
		}
		return own(err)
	})
}

// volumeUsers gives the ids of the containers that have volumes, but for one that is
// being removed, by the volumes' names.
func volumeUsers(containers, except string) func() map[string][]string {
	return func() map[string][]string {
		users := map[string][]string{}
		for _, found := range container.List(containers) {
			if found.Config.ID == except {
				continue
			}
			for _, m := range found.Config.Mounts {
				if m.Type == container.MountVolume && !slices.Contains(users[m.Name], found.Config.ID) {
					users[m.Name] = append(users[m.Name], found.Config.ID)
				}
			}
		}
		return users
	}
}
