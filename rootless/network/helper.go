package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/builder-oci/builder/internal/owner"
	"golang.org/x/sys/unix"
)

// Both helpers are given the same addresses, slirp4netns's own, so that what a
// sandbox sees doesn't vary with helper and host. Of the host, pasta would
// otherwise take over the address itself, and so hide it from the sandbox.
const (
	guestIP   = "10.0.2.100"
	guestBits = "24"
	gateway   = "10.0.2.2"
	mtu       = "65520"

	// slirp4netns's, and its interface.
	guestIP6 = "fd00::100/64"
	gateway6 = "fd00::2"
	tap      = "tap0"
)

// helper is a program that can carry the traffic of a network namespace.
type helper struct {
	name, path string
	ipv6       func() bool // whether it carries that here
	attach     func(ctx context.Context, a attachment) (*process, error)
}

// attachment is what a helper is asked for.
type attachment struct {
	netns   string // file of the namespace
	forward string // address that must forward to the host's resolver, or ""
}

// order is the order in which helpers are tried.
type order []string

var (
	// quick is for a build: what comes by pasta comes twice as fast.
	quick = order{pasta, slirp4netns}
	// lean is for a container, which lives for long: slirp4netns has 3 MiB of
	// memory where pasta has 16 (Debian 13) to 30 (Debian 12), and is up in half
	// the time.
	lean = order{slirp4netns, pasta}
)

// helpers lists what is installed of the wanted helper, or else of all.
func helpers(wanted string, in order) []helper {
	if tunError() != nil {
		return nil
	}
	at := map[string]func(path string) helper{pasta: pastaAt, slirp4netns: slirpAt}
	var list []helper
	for _, name := range in {
		if path, err := exec.LookPath(name); err == nil && (wanted == "" || wanted == name) {
			list = append(list, at[name](path))
		}
	}
	return list
}

func pastaAt(path string) helper {
	return helper{name: pasta, path: path, ipv6: routesIPv6, attach: func(ctx context.Context, a attachment) (*process, error) {
		return attachPasta(ctx, path, a)
	}}
}

func slirpAt(path string) helper {
	return helper{name: slirp4netns, path: path, ipv6: routesIPv6, attach: func(ctx context.Context, a attachment) (*process, error) {
		return attachSlirp(ctx, path, a)
	}}
}

// attachPasta starts pasta on a namespace. It writes its pid file when all is
// set up, so a FIFO in the file's place tells when to go on.
//
// It must be given the namespace as a file: with a process id it wants to join
// that process's user namespace, after having dropped the right to.
func attachPasta(ctx context.Context, path string, a attachment) (*process, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fifo := filepath.Join(dir, "ready")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		return nil, os.NewSyscallError("mkfifo", err)
	}
	// Open for both, so that neither side waits for the other.
	ready, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	p, err := start(exec.Command(path, pastaArgs(a, fifo)...))
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, ready)
}

func pastaArgs(a attachment, pidFile string) []string {
	args := []string{
		"--foreground", "--quiet", "--config-net", "--netns", a.netns, "--pid", pidFile,
		"--address", guestIP, "--netmask", guestBits, "--gateway", gateway, "--mtu", mtu,
		// The defaults would let the sandbox reach the host's loopback, by
		// the gateway's address and by every port that listens there.
		"--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none",
		"--tcp-ports", "none", "--udp-ports", "none",
	}
	if a.forward != "" {
		args = append(args, "--dns-forward", a.forward)
	}
	return args
}

// attachSlirp starts slirp4netns on a namespace. The IPv6 address that it would
// advertise after some seconds is set at once.
func attachSlirp(ctx context.Context, path string, a attachment) (*process, error) {
	ready, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	args := []string{"--configure", "--mtu", mtu, "--disable-host-loopback", "--ready-fd", "3", "--netns-type", "path"}
	ipv6 := routesIPv6()
	if ipv6 {
		args = append(args, "--enable-ipv6")
	}
	cmd := exec.Command(path, append(args, a.netns, tap)...)
	cmd.ExtraFiles = []*os.File{w}
	p, err := start(cmd)
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, ready); err != nil || !ipv6 {
		return p, err
	}
	if err := setIPv6(a.netns, tap, netip.MustParsePrefix(guestIP6), netip.MustParseAddr(gateway6)); err != nil {
		p.stop()
		return nil, fmt.Errorf("setting the IPv6 address: %w", err)
	}
	return p, nil
}

// tempDir makes a private directory for the moment in which a helper starts. It
// is in /tmp because AppArmor's profiles for pasta have that in common. Those
// that a kill has left are removed.
func tempDir() (string, error) {
	const root = "/tmp"
	uid, _ := owner.IDs()
	old, _ := filepath.Glob(filepath.Join(root, prefix+"*"))
	for _, name := range old {
		info, err := os.Lstat(name)
		if err == nil && info.IsDir() && info.Sys().(*syscall.Stat_t).Uid == uint32(uid) &&
			time.Since(info.ModTime()) > 2*patience {
			_ = os.RemoveAll(name)
		}
	}
	return os.MkdirTemp(root, prefix)
}
