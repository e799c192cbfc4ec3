package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// Port publishes one port of a container on the host.
type Port struct {
	HostIP        string `json:"host_ip,omitempty"`   // empty: all addresses of the host
	HostPort      uint16 `json:"host_port,omitempty"` // zero: any free one
	ContainerPort uint16 `json:"container_port"`
	Proto         string `json:"proto"` // "tcp" or "udp"
}

// String gives the port as docker prints it: "0.0.0.0:8080->80/tcp".
func (p Port) String() string {
	ip := p.HostIP
	if ip == "" {
		ip = "0.0.0.0"
	}
	return fmt.Sprintf("%s->%d/%s", net.JoinHostPort(ip, strconv.Itoa(int(p.HostPort))), p.ContainerPort, p.Proto)
}

// ParsePort reads docker's [ip:][host]:container[/proto], where host and
// container may be ranges of the same length (8000-8002:80-82), an IPv6
// address stands in brackets, and a missing host port means any free one.
func ParsePort(s string) ([]Port, error) {
	bad := func(why string) ([]Port, error) {
		return nil, fault.New("write it as [ip:][hostport:]containerport[/tcp|/udp], for example 127.0.0.1:8080:80",
			"port %q: %s", s, why)
	}
	rest, proto, found := strings.Cut(s, "/")
	if !found {
		proto = "tcp"
	}
	if proto = strings.ToLower(proto); proto != "tcp" && proto != "udp" {
		return bad("the protocol must be tcp or udp")
	}
	ip, host, container, err := splitPort(rest)
	if err != nil {
		return bad(err.Error())
	}
	cFirst, cLast, err := parseRange(container)
	if err != nil {
		return bad("container port: " + err.Error())
	}
	var hFirst, hLast uint16
	if host != "" {
		if hFirst, hLast, err = parseRange(host); err != nil {
			return bad("host port: " + err.Error())
		}
		if hLast-hFirst != cLast-cFirst {
			return bad("the two ranges differ in length")
		}
	}
	var ports []Port
	for i := range int(cLast-cFirst) + 1 {
		p := Port{HostIP: ip, ContainerPort: cFirst + uint16(i), Proto: proto}
		if host != "" {
			p.HostPort = hFirst + uint16(i)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// splitPort cuts [ip:][host:]container into its parts.
func splitPort(s string) (ip, host, container string, err error) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s, container = s[:i], s[i+1:]
	} else {
		return "", "", s, nil
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		ip, host = s[:i], s[i+1:]
	} else {
		return "", s, container, nil
	}
	if ip == "" {
		return "", host, container, nil
	}
	bare, bracketed := strings.CutPrefix(ip, "[")
	bare = strings.TrimSuffix(bare, "]")
	if addr, err := netip.ParseAddr(bare); err != nil || addr.Is6() != bracketed {
		return "", "", "", fmt.Errorf("%q isn't an IP address", ip)
	}
	return bare, host, container, nil
}

func parseRange(s string) (first, last uint16, err error) {
	a, b, found := strings.Cut(s, "-")
	if !found {
		b = a
	}
	if first, err = parseNumber(a); err != nil {
		return 0, 0, err
	}
	if last, err = parseNumber(b); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("%s ends before it begins", s)
	}
	return first, last, nil
}

func parseNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q isn't a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// claim binds every port for a moment, so that one that can't be had is told
// with its reason, whichever helper is to bind it, and gives those that were
// left open a number. (Another process can still be quicker; the helper's
// error then says so.)
func claim(ports []Port) ([]Port, error) {
	out := make([]Port, len(ports))
	for i, p := range ports {
		number, err := tryBind(p)
		if err != nil {
			return nil, portError(p, err)
		}
		out[i] = p
		out[i].HostPort = number
	}
	return out, nil
}

func tryBind(p Port) (uint16, error) {
	addr := net.JoinHostPort(p.HostIP, strconv.Itoa(int(p.HostPort)))
	if p.Proto == "udp" {
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close() }()
		return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}

func portError(p Port, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fault.New(fmt.Sprintf("ss -lnp 'sport = :%d'    # tells who has it; or publish on another port", p.HostPort),
			"port %s: the host's port %d is in use", p, p.HostPort)
	case errors.Is(err, unix.EACCES):
		first, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
		return fault.New(fmt.Sprintf("use a port from %s on, or: sudo sysctl net.ipv4.ip_unprivileged_port_start=%d",
			strings.TrimSpace(string(first)), p.HostPort),
			"port %s: an ordinary user may not bind port %d", p, p.HostPort)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fault.New("ip address    # lists the host's addresses", "port %s: %s isn't an address of this host", p, p.HostIP)
	}
	return fault.New("", "port %s: %w", p, err)
}
