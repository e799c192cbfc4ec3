package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// PIDNamespace explains why, what userns.StepDown says, there is no pid
// namespace. The result is a *fault.Error.
func PIDNamespace(why string) error {
	f := examine()
	remedy := f.unmask()
	if !strings.Contains(why, "/proc") { // the kernel makes none
		remedy = setSysctl("user.max_pid_namespaces", "15000")
	}
	return fault.Machine(remedy, "no pid namespace: %s", why)
}

// FuseMount explains err, the kernel's refusal to mount FUSE though there is
// /dev/fuse. The result is a *fault.Error.
func FuseMount(err error) error { return explainFuseMount(err, examine()) }

func explainFuseMount(err error, f facts) *fault.Error {
	remedy := "uname -r    # Linux 4.18 is the first that lets FUSE be mounted in a user namespace"
	switch {
	case errors.Is(err, unix.EACCES) && f.seLinuxLabel != "":
		remedy = f.unlabel()
	case f.container != "" && errors.Is(err, unix.EPERM):
		remedy = f.withFuse()
	}
	return fault.Machine(remedy, "FUSE can't be mounted here: %w", err)
}

// versionPatience is how long a program may take to tell its version.
const versionPatience = 10 * time.Second

// fuseRuns tells why fuse-overlayfs, which is installed, can't be started: it may be
// another machine's, or lack a library. The result is a *fault.Error or nil.
func fuseRuns(program string) error {
	ctx, cancel := context.WithTimeout(context.Background(), versionPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return fault.Machine(program+" --version    # has to work; 1.8 or newer is wanted", "%s doesn't run: %w", program, Said(said, err))
}

// FuseProgram explains err: fuse-overlayfs runs, and mounts no tree that can be used.
// The result is a *fault.Error.
func FuseProgram(program string, err error) error {
	return fault.Machine(program+" --version    # 1.8 or newer is wanted; or use --storage-driver overlay",
		"%s doesn't do its work: %w", program, err)
}

// Said is err, by which a program has ended, behind what it said.
func Said(said []byte, err error) error {
	if said = bytes.TrimSpace(said); len(said) > 0 {
		return fmt.Errorf("%s: %w", bytes.ReplaceAll(said, []byte("\n"), []byte("; ")), err)
	}
	return err
}

// Tun explains err: /dev/net/tun can't be opened, without which nothing carries a
// private network. The result is a *fault.Error.
func Tun(err error) error {
	return fault.Machine(examine().pickOr(map[string]string{
		"docker":     "docker run --device /dev/net/tun …",
		"podman":     "podman run --device /dev/net/tun …",
		"kubernetes": "give the pod /dev/net/tun by a device plugin",
		"container":  "start the container with the device /dev/net/tun",
	}, asRoot("modprobe tun")+"\n"+asRoot("chmod 0666 /dev/net/tun"))+"\nor use --network host",
		"a private network can't be made: %w", err)
}

// Overlay explains err, the kernel's refusal to mount its overlay with dirs on
// the file system of dir. The result is a *fault.Error.
func Overlay(err error, dir string) error {
	return explainOverlay(err, DiskOf(dir), kernel(), examine())
}

func explainOverlay(err error, d Disk, release string, f facts) *fault.Error {
	because := func(remedy, format string, args ...any) *fault.Error {
		return fault.Machine(remedy, "the kernel's overlay can't be mounted: %s: %w", fmt.Sprintf(format, args...), err)
	}
	switch {
	case older(release, 5, 11):
		return because("use fuse-overlayfs: "+Install("fuse-overlayfs"), "Linux %s doesn't let it be mounted in a user namespace, 5.11 is the first that does", release)
	case d.Type == "tmpfs" && older(release, 6, 6):
		return because(f.elsewhere(), "%s is a tmpfs, which before Linux 6.6 has no user xattrs", d.Dir)
	case d.layered() || d.Network():
		return because(f.elsewhere(), "%s lies on %s, which can't hold its upper directory", d.Dir, d.Type)
	case errors.Is(err, unix.EACCES) && f.seLinuxLabel != "":
		return because(f.unlabel(), "SELinux denies it to %s", f.seLinuxLabel)
	}
	return fault.Machine("use fuse-overlayfs, which is the default where it is installed", "the kernel's overlay can't be used in %s (%s): %w", d.Dir, d.Type, err)
}

// Disk is the file system that a directory lies on.
type Disk struct {
	Dir  string
	Type string // as mount(8) calls it, or its number
	// NoExec and NoDev are options that it is mounted with.
	NoExec, NoDev bool
	ReadOnly      bool
	// Free, Size and Files are what is left and what there is of bytes, and what is
	// left of files, as far as this user may have them.
	Free, Size, Files uint64
}

// DiskOf looks at dir, or at the nearest directory above it that exists.
func DiskOf(dir string) Disk {
	d := Disk{Dir: dir, Type: "unknown"}
	var fs unix.Statfs_t
	for at := dir; ; {
		err := unix.Statfs(at, &fs)
		if err == nil {
			break
		}
		i := strings.LastIndexByte(at, '/')
		if !errors.Is(err, unix.ENOENT) || i < 0 || at == "/" {
			return d
		}
		at = at[:max(i, 1)]
	}
	d.Type = diskTypes[uint32(fs.Type)]
	if d.Type == "" {
		d.Type = "0x" + strconv.FormatUint(uint64(uint32(fs.Type)), 16)
	}
	d.NoExec, d.NoDev, d.ReadOnly = fs.Flags&unix.ST_NOEXEC != 0, fs.Flags&unix.ST_NODEV != 0, fs.Flags&unix.ST_RDONLY != 0
	d.Free, d.Size, d.Files = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize), fs.Ffree
	if fs.Files == 0 { // it makes them as they are wanted
		d.Files = 1 << 32
	}
	return d
}

// diskTypes are names for what statfs(2) calls f_type.
var diskTypes = map[uint32]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.F2FS_SUPER_MAGIC: "f2fs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "smb", unix.CIFS_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "cifs",
	unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse", unix.CEPH_SUPER_MAGIC: "ceph", unix.AFS_SUPER_MAGIC: "afs",
	unix.CODA_SUPER_MAGIC: "coda", unix.ECRYPTFS_SUPER_MAGIC: "ecryptfs", unix.MSDOS_SUPER_MAGIC: "vfat",
	unix.RAMFS_MAGIC: "ramfs", unix.BCACHEFS_SUPER_MAGIC: "bcachefs",
	0x2fc12fc1: "zfs", 0x47504653: "gpfs", 0x0bd00bd0: "lustre", 0x5346544e: "ntfs", 0x7366746e: "ntfs3",
}

// Network tells whether another machine has the files, and a say in whose they
// are.
func (d Disk) Network() bool {
	switch d.Type {
	case "nfs", "smb", "cifs", "9p", "ceph", "afs", "coda", "gpfs", "lustre":
		return true
	}
	return false
}

// layered tells whether the file system shows files of another one.
func (d Disk) layered() bool {
	switch d.Type {
	case "overlay", "fuse", "ecryptfs":
		return true
	}
	return false
}

// Owners explains err: dir's file system doesn't let files be given to the ids
// that are mapped. The result is a *fault.Error.
func Owners(err error, dir string) error {
	d := DiskOf(dir)
	if d.Network() {
		return fault.Machine(examine().elsewhere(), "%s lies on %s, whose server lets nobody give files to other ids: %w", dir, d.Type, err)
	}
	return fault.Machine(examine().elsewhere(), "files in %s (%s) can't be given to other ids: %w", dir, d.Type, err)
}

// elsewhere has the store on a local disk.
func (f facts) elsewhere() string {
	return f.pickOr(map[string]string{
		"docker":     "docker run -v builder-store:/store -e BUILDER_ROOT=/store/builder …",
		"podman":     "podman run -v builder-store:/store:U -e BUILDER_ROOT=/store/builder …",
		"kubernetes": podVolume,
		"container":  "mount a volume, and name a directory in it by BUILDER_ROOT",
	}, "export BUILDER_ROOT=/var/tmp/builder-$(id -un)    # or another directory on a local disk")
}

const podVolume = `spec:                              # of the pod
  containers:
  - env: [{name: BUILDER_ROOT, value: /store/builder}]
    volumeMounts: [{name: store, mountPath: /store}]
  volumes: [{name: store, emptyDir: {}}]`

// older compares the release of a kernel, such as 6.12.5-amd64.
func older(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		second = rest[:i]
	}
	a, err := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	return err == nil && err2 == nil && (a < major || a == major && b < minor)
}

// Locks explains err: locks on dir's file system don't do what they should. The
// result is a *fault.Error.
func Locks(err error, dir string) error {
	return fault.Machine(examine().elsewhere(), "locks in %s (%s) can't be relied on: %w", dir, DiskOf(dir).Type, err)
}

// Attributes explains err: dir's file system has no extended attributes for
// users. The result is a *fault.Error.
func Attributes(err error, dir string) error {
	return fault.Machine(examine().elsewhere(), "files in %s (%s) can't have user xattrs, by which overlays and owners are kept: %w", dir, DiskOf(dir).Type, err)
}
