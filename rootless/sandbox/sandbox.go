// Package sandbox runs one program in a root file system of its own: in its
// own mount, pid, ipc, uts and, unless told otherwise, network namespace,
// with docker's capabilities, seccomp profile and hidden paths. It works
// inside the user namespace that the process has already entered, and needs
// no other privilege.
//
// A [Spec] says what to run, a [Sandbox] runs it and waits. [OCI] is the
// sandbox that hands the work to crun or runc.
package sandbox

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/emulate"
	"github.com/builder-oci/builder/rootless/network"
)

// Sandbox runs programs.
type Sandbox interface {
	// Run starts the program and returns when it and everything that it
	// started has ended. The error tells that the program couldn't be run;
	// that it ran and failed is told by Exit alone. When ctx ends, the whole
	// sandbox is killed, and the error is ctx's cause.
	Run(ctx context.Context, s Spec) (Exit, error)
}

// Spec is one program and what it sees. It can be kept as JSON, less its
// streams.
type Spec struct {
	// ID names the sandbox: letters, digits, '_', '.', '-', '+'. It is unique
	// in StateDir.
	ID string `json:"id"`
	// RootFS is the root directory, which must exist and hold MountPoints.
	RootFS string `json:"rootfs"`
	// Args is the command. A first word without a slash is looked for in
	// Env's PATH.
	Args []string `json:"args"`
	// Env is the whole environment, as "NAME=value".
	Env []string `json:"env,omitempty"`
	// SecretEnv is added to Env, and wins over it. It is never kept: the
	// runtime's configuration in StateDir has it until the program has ended.
	SecretEnv []string `json:"-"`
	// Cwd is made where the root file system lacks it. Empty stands for "/".
	Cwd string `json:"cwd,omitempty"`
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	// Groups are the additional groups. They are dropped where the user
	// namespace maps a single id, because the kernel forbids setting any.
	Groups []uint32 `json:"groups,omitempty"`
	// EmulateIDs lets the program, where the user namespace maps a single id,
	// believe in all others: see package emulate.
	EmulateIDs bool `json:"emulate_ids,omitempty"`
	// Recorded gives owners that are known of links and special files of the root
	// file system, for EmulateIDs. It may be nil.
	Recorded func(path string) (emulate.Owner, bool) `json:"-"`
	// Temp is a directory for what would take too much memory, "" the system's.
	Temp string `json:"-"`

	Network network.Mode `json:"network"`
	// NetNS is the file of the network namespace, for network.ModePrivate.
	NetNS    string `json:"netns,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	// ResolvConf and Hosts are mounted over the files of that name in /etc,
	// and Hostname over /etc/hostname; they leave no trace but the mount
	// points. Where ResolvConf or Hosts is nil, the image's file is seen.
	ResolvConf []byte `json:"resolv_conf,omitempty"`
	Hosts      []byte `json:"hosts,omitempty"`

	// CapAdd and CapDrop change docker's default set; "ALL" is understood,
	// and names may come without "CAP_".
	CapAdd  []string `json:"cap_add,omitempty"`
	CapDrop []string `json:"cap_drop,omitempty"`
	// Insecure lifts what docker's confinement denies: the program has all
	// capabilities of the user namespace, no seccomp profile, sees every path,
	// and such devices as the user may open. What CapDrop and Security take
	// stays taken.
	Insecure bool     `json:"insecure,omitempty"`
	Security Security `json:"security,omitzero"`
	Ulimits  []Ulimit `json:"ulimits,omitempty"`
	// Limits put the program into a cgroup of its own. cgroup.Claim must have
	// been called for them outside the user namespace.
	Limits cgroup.Limits `json:"limits,omitzero"`
	// Sysctls are parameters of the kernel's for the ipc and network namespaces.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// OOMScoreAdj is how much sooner than others the program is killed where
	// memory lacks, up to 1000; 0 leaves it as it is.
	OOMScoreAdj int `json:"oom_score_adj,omitempty"`
	// ShmSize is the size of /dev/shm in bytes; 0 stands for 64 MiB.
	ShmSize int64 `json:"shm_size,omitempty"`
	// ReadOnly forbids writing to the root file system.
	ReadOnly bool `json:"read_only,omitempty"`
	// NoPivot changes the root by chroot in place of pivot_root, which an
	// initramfs doesn't have.
	NoPivot bool    `json:"no_pivot,omitempty"`
	Mounts  []Mount `json:"mounts,omitempty"`
	// Devices are some of the host's, beside those that every program has.
	Devices []Device `json:"devices,omitempty"`
	// Init is the file of a program that is started in place of the command, which
	// it starts, passes signals to and reaps for; empty for none.
	Init string `json:"init,omitempty"`

	// Stdin is empty where it is nil; Stdout and Stderr are then dropped. A
	// file is passed as it is, anything else by a pipe.
	Stdin  io.Reader `json:"-"`
	Stdout io.Writer `json:"-"`
	Stderr io.Writer `json:"-"`
	// Terminal gives the program a terminal of its own. Run joins that to the
	// caller's: Stdin is then the file of one, Stdout and Stderr are files. Create
	// makes it of Size, and gives it by Program.Terminal.
	Terminal bool    `json:"-"`
	Size     Winsize `json:"-"`
	// Signals that arrive here are passed on to the program.
	Signals <-chan os.Signal `json:"-"`

	// StateDir is a private run-time directory; it is best on a tmpfs.
	StateDir string `json:"state_dir"`
}

// Mount is one more mount inside, in the words of the runtime specification.
type Mount struct {
	Type        string   `json:"type"` // "bind", "tmpfs", …
	Source      string   `json:"source,omitempty"`
	Destination string   `json:"destination"` // absolute, in the root file system
	Options     []string `json:"options,omitempty"`
	// Move says that a bind mount's source may be moved to its destination, and back,
	// where nothing can be mounted: if the program is killed, nobody misses it.
	Move bool `json:"move,omitempty"`
	// Host says that the source is the user's own, and none of builder's: whom its
	// files belong to for the program isn't written to them.
	Host bool `json:"host,omitempty"`
}

// Exit tells how the program ended.
type Exit struct {
	// Code is the exit code, 128+n where signal n killed the program.
	Code   int
	Signal int
	// OOM is set where Code isn't 0 and the kernel's out-of-memory killer has
	// killed the program or one that it started.
	OOM *OOM
	// OOMUnknown says that no cgroup could be asked for that.
	OOMUnknown bool
	// IDs tells, where the user namespace maps a single id, what the program wanted
	// of others; nil where that was nothing.
	IDs *emulate.Seen
}

// MountPoint is a name that must exist in the root file system.
type MountPoint struct {
	Path string // absolute; links on the way are followed inside the root
	Dir  bool
}

// MountPoints lists what Run mounts on, in the order of mounting. A runtime
// makes what is missing; who doesn't want to find that in a layer makes it
// before and removes it afterwards.
func MountPoints(s Spec) []MountPoint {
	points := []MountPoint{{"/proc", true}, {"/dev", true}, {"/sys", true}}
	for _, f := range s.files() {
		points = append(points, MountPoint{f.path, false})
	}
	for _, m := range s.Mounts {
		points = append(points, MountPoint{m.Destination, m.isDir()})
	}
	for _, d := range s.Devices {
		if !strings.HasPrefix(d.Path, "/dev/") { // which is new in each sandbox
			points = append(points, MountPoint{d.Path, d.mount().isDir()})
		}
	}
	if s.Init != "" {
		points = append(points, MountPoint{InitPath, false})
	}
	return points
}

// isDir tells whether the mount goes on a directory.
func (m Mount) isDir() bool {
	if !m.isBind() {
		return true
	}
	st, err := os.Stat(m.Source)
	return err != nil || st.IsDir()
}

func (m Mount) isBind() bool {
	if m.Type == "bind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

// file is a file in /etc that the sandbox provides.
type file struct {
	name, path string
	data       []byte
}

func (s Spec) files() []file {
	var files []file
	if s.ResolvConf != nil {
		files = append(files, file{"resolv.conf", "/etc/resolv.conf", s.ResolvConf})
	}
	if s.Hosts != nil {
		files = append(files, file{"hosts", "/etc/hosts", s.Hosts})
	}
	if s.Hostname != "" {
		files = append(files, file{"hostname", "/etc/hostname", []byte(s.Hostname + "\n")})
	}
	return files
}
