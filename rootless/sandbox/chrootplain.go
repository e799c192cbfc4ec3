package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-tools/generate"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/chroot"
	"github.com/builder-oci/builder/rootless/network"
)

// DefaultHostname is what a RUN sees as its host's name where nobody names one; it is
// the same in all builds, so that what prints it gives the same layer. Without a
// namespace for it the kernel has another name, and /etc/hostname this one.
const DefaultHostname = "builder"

// plainly tells what of s can't be done without mounts and namespaces.
func plainly(s Spec) error {
	for _, lack := range []struct {
		asked        bool
		what, remedy string
	}{
		{s.Network != network.ModeHost, fmt.Sprintf("a network of its own (%s)", s.Network), "use --network host"},
		{s.Hostname != "" && s.Hostname != DefaultHostname, "a host name of its own", "leave out --hostname"},
		{s.ReadOnly, "a read-only root file system", "leave out --read-only"},
		{s.ShmSize != 0, "a size for /dev/shm", "leave out --shm-size"},
		{len(s.Sysctls) > 0, "parameters of the kernel", "leave out --sysctl"},
		{s.Insecure, "the privileges of security=insecure, which builder lacks itself", "leave out --security=insecure"},
		{s.Init != "", "an init", "leave out --init"},
		{len(s.Security.Mask) > 0, "hidden paths", "leave out --security-opt mask"},
		{s.Security.Seccomp != "" && !s.Security.NoNewPrivileges, "a seccomp profile", "add --security-opt no-new-privileges, or leave the profile out"},
	} {
		if lack.asked {
			return cantPlainly(lack.what, lack.remedy)
		}
	}
	if err := plainCaps(s); err != nil {
		return err
	}
	return plainMounts(s)
}

// cantPlainly is the error of each thing that needs a namespace.
func cantPlainly(what, remedy string) error {
	return fault.New(remedy+"\nor let builder make a user namespace: builder doctor    # tells what forbids it here",
		"chroot isolation without a mount namespace can't give the command %s", what)
}

// plainCaps complains of capabilities that builder can't give away, or can't take.
func plainCaps(s Spec) error {
	added, err := canonicalCaps(s.CapAdd)
	if err != nil {
		return err
	}
	for _, name := range added {
		if n := slices.Index(chroot.Capabilities, name); name == everyCap || !holds(n) {
			return cantPlainly("the capability "+name+", which builder lacks itself", "add it to the container that builder runs in")
		}
	}
	return nil
}

// plainMounts complains of mounts for which neither a copy nor the thing itself can be
// put into the tree.
func plainMounts(s Spec) error {
	var moved []string
	for _, m := range s.Mounts {
		st, err := os.Stat(m.Source)
		switch {
		case m.Type == "tmpfs":
			if slices.ContainsFunc(m.Options, func(o string) bool { return strings.Contains(o, "size=") || o == "ro" }) {
				return cantPlainly("a tmpfs at "+m.Destination+" that is read-only or has a size", "leave out its size")
			}
		case !m.isBind():
			return cantPlainly(fmt.Sprintf("a mount of type %s at %s", m.Type, m.Destination), "leave it out")
		case err != nil:
			return err
		case slices.Contains(moved, m.Source):
			return cantPlainly("at "+m.Destination+" what it has elsewhere already", "mount it once")
		case m.Move:
			moved = append(moved, m.Source)
		case st.Mode()&(os.ModeSocket|os.ModeDevice) != 0:
		case st.IsDir():
			return cantPlainly("the directory "+m.Source+" at "+m.Destination, "copy what it needs, by COPY or RUN --mount=type=bind")
		case !slices.Contains(m.Options, "ro"):
			return cantPlainly("the file "+m.Source+" to write to at "+m.Destination, "mount it read-only (:ro)")
		}
	}
	return nil
}

// NoContainers is why containers, which outlive a command, can't be had without mounts.
func NoContainers() error {
	return fault.New("run it where builder can make a user namespace: builder doctor    # tells what forbids it here; builds work",
		"containers need a mount namespace, and none can be made here")
}

// setPlainMounts says what is to be put into the tree.
func setPlainMounts(g *generate.Generator, s Spec, bundle string) {
	g.ClearMounts()
	if g.Config.Annotations == nil {
		g.Config.Annotations = map[string]string{}
	}
	g.Config.Annotations[chroot.PlainAnnotation] = "1"
	for _, f := range s.files() {
		g.AddMount(rspec.Mount{
			Type: "bind", Source: filepath.Join(bundle, f.name), Destination: f.path, Options: []string{"bind", chroot.OwnOption},
		})
	}
	for _, d := range s.Devices {
		g.AddMount(rspec.Mount{Type: "bind", Source: d.Source, Destination: d.Path, Options: []string{"bind"}})
	}
	for _, m := range s.Mounts {
		if m.Move {
			m.Options = append(slices.Clip(m.Options), chroot.MoveOption)
		}
		g.AddMount(rspec.Mount{Type: m.Type, Source: m.Source, Destination: m.Destination, Options: m.Options})
	}
}

// killInside kills what has a root directory at or below root, where no namespace holds
// a program's processes together and their keeper was killed.
func killInside(root string) {
	root = filepath.Clean(root)
	for found := true; found; {
		found = false
		for _, pid := range processes() {
			at, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
			if err != nil || pid == os.Getpid() || at != root && !strings.HasPrefix(at, root+"/") {
				continue
			}
			if p, err := lookUp(pid); err == nil && !p.ended() {
				found = unix.Kill(pid, unix.SIGKILL) == nil || found
			}
		}
	}
}
