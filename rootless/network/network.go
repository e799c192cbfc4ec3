// Package network gives a sandbox its network: the host's own, none, or a
// private one, that is a network namespace in which pasta or slirp4netns, a
// child of ours, carries the traffic to the outside. Nobody needs to be root
// for it.
//
// The host's network and none cost nothing. A private namespace takes some
// 30 ms to come up, so a build keeps a [Pool] of them; a container begins its
// own with [Begin], which also publishes ports, and creates its sandbox
// meanwhile. In a private network the host's loopback can't be reached, and its
// resolver can, wherever it listens.
package network

import (
	"os"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/userns"
	"golang.org/x/sys/unix"
)

// Mode says which network a sandbox sees.
type Mode string

// The modes. In ModeNone there is nothing but a loopback interface. ModeShared
// is another container's network, whatever that is.
const (
	ModeHost    Mode = "host"
	ModeNone    Mode = "none"
	ModePrivate Mode = "private"
	ModeShared  Mode = "container"
)

// Network is what a sandbox needs to know of its network.
type Network struct {
	Mode Mode
	// NSPath is the network namespace's file; empty unless Mode is ModePrivate or
	// ModeShared.
	NSPath string
	// Resolv is the content of the sandbox's /etc/resolv.conf.
	Resolv []byte
	// HostsIP is the address that the sandbox's own name stands for.
	HostsIP string
}

// The programs that can carry a private network, best first.
const (
	pasta       = "pasta"
	slirp4netns = "slirp4netns"
)

// Choice is the network that a user asks for.
type Choice struct {
	// Mode is "" where it is left to Default.
	Mode Mode
	// Helper is the program that is to carry a private network, "" for the best.
	Helper string
	// Container is whose network is shared, by ModeShared.
	Container string
}

// ParseChoice reads what users write after --network: a mode, "bridge", which
// is docker's word for its private network, the helper of a private one, or
// container:NAME.
func ParseChoice(s string) (Choice, error) {
	if name, ok := strings.CutPrefix(s, "container:"); ok {
		if name == "" {
			return Choice{}, fault.New("write --network container:NAME", "network %q names no container", s)
		}
		return Choice{Mode: ModeShared, Container: name}, nil
	}
	switch s {
	case "", "default":
		return Choice{}, nil
	case "bridge", "private":
		return Choice{Mode: ModePrivate}, nil
	case pasta, slirp4netns:
		return Choice{Mode: ModePrivate, Helper: s}, nil
	case "host":
		return Choice{Mode: ModeHost}, nil
	case "none":
		return Choice{Mode: ModeNone}, nil
	}
	return Choice{}, fault.New("use one of: private (or bridge), pasta, slirp4netns, host, none, container:NAME\nto reach one container from another: let it share that one's network by container:NAME, or publish a port",
		"network %q isn't known: there are no networks with names of their own yet", s)
}

// Default is ModePrivate where something can carry it, else ModeHost.
func Default() Mode {
	if Lack() != nil {
		return ModeHost
	}
	return ModePrivate
}

// Lack tells, with the remedy, why there can be no private network; nil where
// there can.
func Lack() error {
	_, _, err := Carrier("")
	return err
}

// Carrier names the program that carries a private network, which is the wanted one
// or else the best, and its path. The error tells, with the remedy, why there is
// none.
func Carrier(wanted string) (helper, path string, err error) {
	if lack := userns.Lack(); lack != nil && plain() {
		return "", "", fault.New(lack.Remedy, "no network namespace can be made: %w", lack)
	}
	if found := helpers(wanted, quick); len(found) > 0 && !plain() {
		return found[0].name, found[0].path, nil
	}
	return "", "", errNoHelper(wanted)
}

// plain tells whether this process goes on without a user namespace, and so
// without any other.
func plain() bool {
	m, err := userns.Current()
	return err == nil && m.Plain()
}

// StepDown is Lack for who goes on with the host's network.
func StepDown() error {
	lack := Lack()
	if lack == nil || plain() { // whose lack of a namespace says more
		return nil
	}
	return fault.New(fault.Remedy(lack), "going on with the host's network: %w", lack)
}

// ForHost is the host's own network, with its resolver unless dns names
// others.
func ForHost(dns DNS) Network {
	return Network{Mode: ModeHost, Resolv: dns.resolvConf(hostResolvConf(), reach{loopback: true, ipv6: true}), HostsIP: "127.0.1.1"}
}

// ForNone is no network: a loopback interface and no resolver.
func ForNone() Network {
	return Network{Mode: ModeNone, HostsIP: "127.0.1.1"}
}

// tunError tells why /dev/net/tun can't be used; nil where it can.
func tunError() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	return unix.Close(fd)
}

// errNoHelper says why there is no private network, carried by the wanted helper
// or by any, and what to do.
func errNoHelper(wanted string) error {
	if err := tunError(); err != nil {
		return doctor.Tun(err)
	}
	if wanted != "" {
		return fault.Machine(doctor.Install(wanted)+"\nor use --network private, which takes what there is", "%s isn't installed", wanted)
	}
	return fault.Machine(doctor.Install(pasta)+"    # or slirp4netns\nor use --network host",
		"a private network needs pasta or slirp4netns, and neither is installed")
}
