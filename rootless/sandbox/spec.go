package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/builder-oci/builder/rootless/network"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-tools/generate"
)

// specVersion is the newest that crun 1.8 takes.
const specVersion = "1.0.2"

const defaultShmSize = 64 << 20

// maskedPaths and readonlyPaths are docker's: what would tell of the host, and
// what would change it.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		"/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// runtimeSpec turns s into the runtime's words. bundle is where the files for
// /etc lie. The seccomp profile is added by the caller, for it depends on the
// capabilities that are set here.
func (o *OCI) runtimeSpec(s Spec, bundle string) (*rspec.Spec, error) {
	g, err := generate.New("linux")
	if err != nil {
		return nil, err
	}
	g.SetOCIVersion(specVersion)
	if err := o.setProcess(&g, s); err != nil {
		return nil, err
	}
	rootFS, err := filepath.Abs(s.RootFS)
	if err != nil {
		return nil, err
	}
	g.SetRootPath(rootFS)
	g.SetRootReadonly(s.ReadOnly)
	g.SetHostname(s.Hostname)
	if err := o.setNamespaces(&g, s); err != nil {
		return nil, err
	}
	for _, d := range s.Devices {
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	if o.plain {
		setPlainMounts(&g, s, bundle)
	} else {
		o.setMounts(&g, s, bundle)
	}
	masked, readOnly := s.HiddenPaths()
	for _, path := range masked {
		g.AddLinuxMaskedPaths(path)
	}
	for _, path := range readOnly {
		g.AddLinuxReadonlyPaths(path)
	}
	for name, value := range s.Sysctls {
		g.AddLinuxSysctl(name, value)
	}
	// Devices are given as nodes; there is no device cgroup to guard.
	g.Config.Linux.Resources = nil
	g.Config.Linux.Seccomp = nil
	return g.Config, nil
}

func (o *OCI) setProcess(g *generate.Generator, s Spec) error {
	g.SetProcessArgs(s.command())
	g.Config.Process.Env = withSecrets(s.Env, s.SecretEnv)
	g.SetProcessCwd("/")
	if s.Cwd != "" {
		g.SetProcessCwd(s.Cwd)
	}
	if !o.host.emulates(s) {
		g.SetProcessUID(s.UID)
		g.SetProcessGID(s.GID)
	}
	if o.host.groups {
		for _, gid := range s.Groups {
			g.AddProcessAdditionalGid(gid)
		}
	}
	setTerminal(g, s)
	g.SetProcessNoNewPrivileges(s.Security.NoNewPrivileges)
	g.SetProcessApparmorProfile(s.Security.AppArmor)
	// The generator's own limit on open files is far below what programs
	// expect: the session's limits stay, but for those that are named.
	g.ClearProcessRlimits()
	for _, u := range s.Ulimits {
		if err := u.check(); err != nil {
			return err
		}
		g.AddProcessRlimits("RLIMIT_"+strings.ToUpper(u.Name), u.Hard, u.Soft)
	}
	if s.OOMScoreAdj != 0 {
		g.SetProcessOOMScoreAdj(s.OOMScoreAdj)
	}
	caps, err := Capabilities(s.capAdd(), s.CapDrop)
	if err != nil {
		return err
	}
	g.Config.Process.Capabilities = &rspec.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	return nil
}

func (o *OCI) setNamespaces(g *generate.Generator, s Spec) error {
	g.ClearLinuxNamespaces()
	if o.plain {
		return nil // which plainly has seen to
	}
	kinds := []string{"mount", "uts"}
	if o.pidNS {
		// Without a pid namespace the ipc namespace is made before the
		// runtime starts, see run.
		kinds = append(kinds, "ipc", "pid")
	}
	for _, kind := range kinds {
		if err := g.AddOrReplaceLinuxNamespace(kind, ""); err != nil {
			return err
		}
	}
	switch s.Network {
	case network.ModeHost:
		return nil
	case network.ModeNone:
		return g.AddOrReplaceLinuxNamespace("network", "")
	case network.ModePrivate:
		if s.NetNS != "" {
			return g.AddOrReplaceLinuxNamespace("network", s.NetNS)
		}
	}
	return fmt.Errorf("network %q of sandbox %s has no namespace", s.Network, s.ID)
}

func (o *OCI) setMounts(g *generate.Generator, s Spec, bundle string) {
	g.ClearMounts()
	add := func(kind, source, destination string, options ...string) {
		g.AddMount(rspec.Mount{Type: kind, Source: source, Destination: destination, Options: options})
	}
	if o.pidNS {
		add("proc", "proc", "/proc", "nosuid", "noexec", "nodev")
	} else {
		add("bind", "/proc", "/proc", "rbind", "nosuid", "noexec", "nodev")
	}
	add("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k")
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	if o.host.gids.has(ttyGroup) {
		pts = append(pts, fmt.Sprintf("gid=%d", ttyGroup))
	}
	add("devpts", "devpts", "/dev/pts", pts...)
	size := s.ShmSize
	if size == 0 {
		size = defaultShmSize
	}
	add("tmpfs", "shm", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", size))
	add("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev")
	if o.pidNS && s.Network != network.ModeHost {
		add("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", s.sysAccess())
	} else {
		o.bindSys(add)
	}
	for _, f := range s.files() {
		add("bind", filepath.Join(bundle, f.name), f.path, "bind", "nosuid", "nodev")
	}
	for _, device := range s.devices() {
		add("bind", device, device, "bind", "nosuid", "noexec")
	}
	mounts := s.Mounts
	for _, d := range s.Devices {
		mounts = append(slices.Clip(mounts), d.mount())
	}
	for _, m := range mounts {
		g.AddMount(rspec.Mount{Type: m.Type, Source: m.Source, Destination: m.Destination, Options: m.Options})
	}
	if s.Init != "" {
		add("bind", s.Init, InitPath, "bind", "ro", "nosuid", "nodev")
	}
}

// sysAccess is the option that says whether a new /sys can be written to.
func (s Spec) sysAccess() string {
	if s.Insecure {
		return "rw"
	}
	return "ro"
}

// bindSys shows the host's /sys. A new sysfs shows the interfaces of a network
// namespace, and only who owns that may mount one. What is mounted below must
// be made read-only as well: to the caller's own cgroups and FUSE connections
// the root of the sandbox, who is the caller, could write.
func (o *OCI) bindSys(add func(kind, source, destination string, options ...string)) {
	if o.host.recursiveReadOnly {
		add("bind", "/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "rro")
		return
	}
	add("bind", "/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/fuse/connections"} {
		if _, err := os.Stat(path); err == nil {
			add("tmpfs", "tmpfs", path, "nosuid", "noexec", "nodev", "ro", "size=0k")
		}
	}
}

// withSecrets adds variables to an environment, from which others of their
// names are left out: what of two counts is not the same for all programs.
func withSecrets(env, secret []string) []string {
	if len(secret) == 0 {
		return env
	}
	names := map[string]bool{}
	for _, kv := range secret {
		name, _, _ := strings.Cut(kv, "=")
		names[name] = true
	}
	var all []string
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !names[name] {
			all = append(all, kv)
		}
	}
	return append(all, secret...)
}
