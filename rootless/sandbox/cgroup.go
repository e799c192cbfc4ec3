package sandbox

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/cgroup"
)

const cgroupRoot = "/sys/fs/cgroup"

// UnknownKill says of a process that was killed what isn't known of it where no cgroup
// could be asked, and WantOfMemory is the remedy: it is likely that memory lacked.
const (
	UnknownKill  = "whether by the kernel's out-of-memory killer is unknown, since no memory cgroup can be read here"
	WantOfMemory = "sudo dmesg | tail    # tells whether it was for want of memory: then it needs more, or less parallel jobs\n" +
		"kubectl describe pod POD    # tells it in a cluster, where resources.limits.memory is what to raise"
)

// OOM tells of a kill by the kernel's out-of-memory killer.
type OOM struct {
	Cgroup string // path of the cgroup whose process was killed
	Limit  int64  // its memory limit in bytes, or the nearest one above it; 0 where there is none
	Peak   int64  // the most memory it used in bytes; 0 where the kernel doesn't tell
	Asked  bool   // the cgroup is the program's own, made for its Limits
}

// memory is a cgroup that counts memory: that of a program with limits, else our
// own, which the other sandboxes are in too. The descriptor stays good when the
// hierarchy is hidden from the file system.
type memory struct {
	dir  *os.File
	path string
	v2   bool
	own  bool // the program's alone
}

// of gives the cgroup of a program with limits; ours where it has none, or where
// it doesn't count memory.
func (c *memory) of(g *cgroup.Group) *memory {
	if g == nil {
		return c
	}
	group := &memory{dir: g.Dir(), path: g.Path(), v2: true, own: true}
	if _, ok := group.kills(); !ok {
		return c
	}
	return group
}

// openMemory finds our own cgroup; nil where that can't be had.
func openMemory() *memory {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for _, c := range memoryCgroups(string(data)) {
		if dir, err := os.Open(c.mount + c.path); err == nil {
			found := &memory{dir: dir, path: c.path, v2: c.v2}
			if _, ok := found.kills(); ok {
				return found
			}
			_ = dir.Close()
		}
	}
	return nil
}

type cgroupPlace struct {
	mount, path string
	v2          bool
}

// memoryCgroups reads /proc/self/cgroup for where the memory controller may
// be: a version 1 hierarchy of its own where there is one, else the unified
// one.
func memoryCgroups(text string) (places []cgroupPlace) {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			if controller == "memory" {
				places = append([]cgroupPlace{{filepath.Join(cgroupRoot, parts[1]), parts[2], false}}, places...)
			}
		}
		if parts[0] == "0" {
			places = append(places, cgroupPlace{cgroupRoot, parts[2], true})
		}
	}
	return places
}

// kills counts the processes of the cgroup that the kernel has killed for
// want of memory.
func (c *memory) kills() (n int64, ok bool) {
	name := "memory.oom_control"
	if c.v2 {
		name = "memory.events"
	}
	for line := range strings.Lines(c.read(name)) {
		if value, found := strings.CutPrefix(line, "oom_kill "); found {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func (c *memory) oomKills() int64 {
	if c == nil {
		return 0
	}
	n, _ := c.kills()
	return n
}

// oomSince tells of a kill since the count was before; nil where there was
// none, or where that is unknown. Of sandboxes that run side by side, all are in
// the one cgroup: then it may have been another's process.
func (c *memory) oomSince(before int64) (killed *OOM, unknown bool) {
	if c == nil {
		return nil, true
	}
	if now, ok := c.kills(); !ok || now <= before {
		return nil, !ok
	}
	o := &OOM{Cgroup: c.path, Asked: c.own}
	if c.v2 {
		o.Limit, o.Peak = c.limit("memory.max"), c.number("memory.peak")
	} else {
		o.Limit, o.Peak = c.limit("memory.limit_in_bytes"), c.number("memory.max_usage_in_bytes")
	}
	return o, false
}

// limit gives the smallest of the limits of the cgroup and those above it.
func (c *memory) limit(name string) (least int64) {
	const none = 1 << 60 // version 1 has a number near 2^63 for it
	for up, depth := "", strings.Count(c.path, "/"); depth >= 0; up, depth = up+"../", depth-1 {
		if n := c.number(up + name); n > 0 && n < none && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

func (c *memory) number(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(c.read(name)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (c *memory) read(name string) string {
	fd, err := unix.Openat(int(c.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(f)
	return string(data)
}

// hideOldCgroups covers version 1 and hybrid cgroups by an empty directory, in
// our own mount namespace: crun looks at them even when told to leave cgroups
// alone, and gives up because it may not write there. Where there are none at all,
// as in a container of ours, it wants that directory to be a tmpfs.
func hideOldCgroups() {
	if unified() || !inUserNamespace() {
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil {
		return
	}
	if entries, err := os.ReadDir(cgroupRoot); err != nil || len(entries) == 0 && st.Type == unix.TMPFS_MAGIC {
		return
	}
	// If it can't be done, crun says what is wrong.
	_ = unix.Mount("tmpfs", cgroupRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=755")
}

// showOldCgroups uncovers what hideOldCgroups covered, for a runtime that is used in
// crun's place and wants to see them.
func showOldCgroups() {
	var st unix.Statfs_t
	if unix.Statfs(cgroupRoot, &st) != nil || st.Type != unix.TMPFS_MAGIC || !inUserNamespace() {
		return
	}
	if entries, err := os.ReadDir(cgroupRoot); err == nil && len(entries) == 0 {
		_ = unix.Unmount(cgroupRoot, unix.MNT_DETACH) // what isn't ours the kernel keeps
	}
}

// unified tells whether the machine has cgroups of version 2 alone.
func unified() bool {
	var st unix.Statfs_t
	err := unix.Statfs(cgroupRoot, &st)
	return err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// inUserNamespace tells whether the user namespace isn't the initial one,
// whose mounts are everybody's.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}
