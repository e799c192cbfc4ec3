package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Ids 0 to 65535 of a pod with hostUsers: false are the node's from here. The
// kubelet gives each pod such a block of its own.
const (
	firstID  = 1_310_720_000
	countIDs = 65_536
)

// The capabilities that containerd and docker give by default.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// The paths that containerd hides and write-protects, unless procMount is
// Unmasked.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
		"/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// spec is the pod's container as containerd would hand it to runc.
func (b *bundle) spec() (*specs.Spec, error) {
	o := b.options
	s := &specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: b.path("rootfs"), Readonly: o.readOnly},
		Hostname: "builder-pod",
		Process:  o.process(),
		Mounts:   b.mounts(),
		Linux: &specs.Linux{
			CgroupsPath: "/kubepods/burstable/" + b.id(),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
			},
			Resources: o.resources(),
			Devices:   o.devices(),
		},
	}
	if o.network != "host" {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if !o.hostUsers {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: firstID, Size: countIDs}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	}
	if !o.unmasked {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = maskedPaths, readOnlyPaths
	}
	if !o.unconfined {
		profile, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			return nil, fmt.Errorf("RuntimeDefault's seccomp profile: %w", err)
		}
		s.Linux.Seccomp = profile
	}
	return s, nil
}

func (o options) process() *specs.Process {
	capabilities := slices.Clone(defaultCapabilities)
	if o.drop {
		capabilities = nil
	}
	for _, name := range o.add {
		capabilities = append(capabilities, "CAP_"+strings.TrimPrefix(name, "CAP_"))
	}
	p := &specs.Process{
		Terminal:        o.interactive,
		User:            specs.User{UID: uint32(o.uid), GID: uint32(o.gid), AdditionalGids: []uint32{uint32(o.gid)}},
		Args:            o.command,
		Cwd:             o.workdir,
		NoNewPrivileges: o.noNewPrivs,
		Capabilities:    &specs.LinuxCapabilities{Bounding: capabilities},
		Env: append([]string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOSTNAME=builder-pod",
			"KUBERNETES_SERVICE_HOST=10.96.0.1",
			"KUBERNETES_SERVICE_PORT=443",
			"KUBERNETES_PORT=tcp://10.96.0.1:443",
		}, o.env...),
	}
	if o.uid == 0 {
		p.Capabilities.Effective, p.Capabilities.Permitted = capabilities, capabilities
	}
	return p
}

// resources has a fixed list of devices that may be opened, as every container
// engine gives it, and the pod's limit.
func (o options) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		device(1, 3), device(1, 5), device(1, 7), device(1, 8), device(1, 9), // null, zero, full, random, urandom
		device(5, 0), device(5, 2), deviceType(136, nil), // tty, ptmx, pts
	}}
	if o.fuse {
		r.Devices = append(r.Devices, device(10, 229))
	}
	if o.tun {
		r.Devices = append(r.Devices, device(10, 200))
	}
	if o.memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &o.memory}
	}
	return r
}

func device(major, minor int64) specs.LinuxDeviceCgroup { return deviceType(major, &minor) }

func deviceType(major int64, minor *int64) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: minor, Access: "rwm"}
}

func (o options) devices() []specs.LinuxDevice {
	mode := os.FileMode(0o666)
	var devices []specs.LinuxDevice
	if o.fuse {
		devices = append(devices, specs.LinuxDevice{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: &mode})
	}
	if o.tun {
		devices = append(devices, specs.LinuxDevice{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200, FileMode: &mode})
	}
	return devices
}

// mounts are containerd's, then those of the manifest.
func (b *bundle) mounts() []specs.Mount {
	o := b.options
	hidden := []string{"nosuid", "noexec", "nodev"}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: hidden},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: hidden},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, hidden...)},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: append([]string{"ro", "relatime"}, hidden...)},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=65536k"}, hidden...)},
	}
	bind := func(source, target string, options ...string) {
		mounts = append(mounts, specs.Mount{
			Destination: target, Type: "bind", Source: source, Options: append([]string{"rbind", "rprivate"}, options...),
		})
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		bind(b.path(name), "/etc/"+name, "rw")
	}
	bind(b.path("token"), "/var/run/secrets/kubernetes.io/serviceaccount", "ro")
	if o.builder != "" {
		bind(o.builder, "/usr/bin/builder", "ro")
		bind(o.builder, "/kaniko/executor", "ro")
	}
	if o.tmp != "" {
		mounts = append(mounts, specs.Mount{
			Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"rw", "mode=1777", "size=" + o.tmp},
		})
	}
	for i, path := range o.emptyDirs {
		bind(b.emptyDir(i), path, "rw")
	}
	for _, m := range o.mounts {
		source, target, _ := strings.Cut(m, ":")
		bind(source, target, "ro")
	}
	return mounts
}

// id is the container's name, unique on the machine.
func (b *bundle) id() string { return filepath.Base(b.dir) }

// emptyDir is the directory on the node's disk behind the pod's i-th.
func (b *bundle) emptyDir(i int) string { return b.path(fmt.Sprint("empty", i)) }

// makeEmptyDirs makes them as the kubelet does: open to everybody.
func (b *bundle) makeEmptyDirs() error {
	for i := range b.emptyDirs {
		if err := os.Mkdir(b.emptyDir(i), 0o777); err != nil {
			return err
		}
		if err := os.Chmod(b.emptyDir(i), 0o777); err != nil {
			return err
		}
		if !b.hostUsers {
			if err := unix.Chown(b.emptyDir(i), firstID, firstID); err != nil {
				return err
			}
		}
	}
	return nil
}
