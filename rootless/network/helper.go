package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

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
	ports   []Port
}

// helpers lists what is installed of the wanted helper, or else of all, best
// first. For published ports an old pasta comes last.
func helpers(wanted string, publish bool) []helper {
	if tunError() != nil {
		return nil
	}
	var list []helper
	for _, known := range []struct {
		name string
		at   func(path string) helper
	}{{pasta, pastaAt}, {slirp4netns, slirpAt}} {
		if path, err := exec.LookPath(known.name); err == nil && (wanted == "" || wanted == known.name) {
			list = append(list, known.at(path))
		}
	}
	if publish && len(list) > 1 && isOldPasta(list[0].path) {
		slices.Reverse(list)
	}
	return list
}

// isOldPasta recognizes Debian 12's pasta, which knows no version of its own:
// of what a server sends first through a published port, it loses some.
func isOldPasta(path string) bool {
	version, err := exec.Command(path, "--version").Output()
	return err != nil || bytes.Contains(version, []byte("unknown version"))
}

func pastaAt(path string) helper {
	return helper{name: pasta, path: path, ipv6: routesIPv6, attach: func(ctx context.Context, a attachment) (*process, error) {
		return attachPasta(ctx, path, a)
	}}
}

func slirpAt(path string) helper {
	return helper{name: slirp4netns, path: path, ipv6: func() bool { return false }, attach: func(ctx context.Context, a attachment) (*process, error) {
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
	}
	if a.forward != "" {
		args = append(args, "--dns-forward", a.forward)
	}
	args = append(args, pastaPorts("--tcp-ports", "tcp", a.ports)...)
	return append(args, pastaPorts("--udp-ports", "udp", a.ports)...)
}

func pastaPorts(flag, proto string, ports []Port) (args []string) {
	for _, p := range ports {
		if p.Proto != proto {
			continue
		}
		spec := fmt.Sprintf("%d:%d", p.HostPort, p.ContainerPort)
		if p.HostIP != "" {
			spec = p.HostIP + "/" + spec
		}
		args = append(args, flag, spec)
	}
	if len(args) == 0 {
		return []string{flag, "none"}
	}
	return args
}

// attachSlirp starts slirp4netns on a namespace and publishes the ports
// through its socket. Its IPv6 is left off: an address comes only seconds
// later, by router advertisement, when the sandbox may have ended.
func attachSlirp(ctx context.Context, path string, a attachment) (*process, error) {
	ready, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	args := []string{"--configure", "--mtu", mtu, "--disable-host-loopback", "--ready-fd", "3", "--netns-type", "path"}
	socket := ""
	if len(a.ports) > 0 {
		dir, err := tempDir()
		if err != nil {
			_ = w.Close()
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		socket = filepath.Join(dir, "api")
		args = append(args, "--api-socket", socket)
	}
	cmd := exec.Command(path, append(args, a.netns, "tap0")...)
	cmd.ExtraFiles = []*os.File{w}
	p, err := start(cmd)
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, ready); err != nil {
		return nil, err
	}
	for _, port := range a.ports {
		if err := slirpPublish(socket, port); err != nil {
			p.stop()
			return nil, err
		}
	}
	return p, nil
}

// tempDir makes a private directory for the moment in which a helper starts. It
// is in /tmp because AppArmor's profiles for pasta have that in common, and the
// name of a socket must be short. Those that a kill has left are removed.
func tempDir() (string, error) {
	const root = "/tmp"
	old, _ := filepath.Glob(filepath.Join(root, prefix+"*"))
	for _, name := range old {
		info, err := os.Lstat(name)
		if err == nil && info.IsDir() && info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid()) &&
			time.Since(info.ModTime()) > 2*patience {
			_ = os.RemoveAll(name)
		}
	}
	return os.MkdirTemp(root, prefix)
}

// slirpPublish asks slirp4netns to forward one port of the host.
func slirpPublish(socket string, p Port) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if strings.Contains(p.HostIP, ":") {
		return errors.New("it publishes on IPv4 addresses only")
	}
	ip := p.HostIP
	if ip == "" {
		ip = "0.0.0.0"
	}
	err = json.NewEncoder(conn).Encode(map[string]any{
		"execute": "add_hostfwd",
		"arguments": map[string]any{
			"proto": p.Proto, "host_addr": ip, "host_port": p.HostPort, "guest_port": p.ContainerPort,
		},
	})
	if err != nil {
		return err
	}
	// It answers when the request has ended.
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	var answer struct {
		Error *struct {
			Desc string `json:"desc"`
		} `json:"error"`
	}
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("publishing port %s: %s", strconv.Itoa(int(p.HostPort)), answer.Error.Desc)
	}
	return nil
}
