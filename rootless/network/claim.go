package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

// All addresses of the host, of either family.
const (
	anyIPv4 = "0.0.0.0"
	anyIPv6 = "::"
)

// claim is a port of the host that is ours: nobody else can bind it any more.
type claim struct {
	Port
	tcp *net.TCPListener
	udp *net.UDPConn
}

func (c claim) close() {
	if c.tcp != nil {
		_ = c.tcp.Close()
	}
	if c.udp != nil {
		_ = c.udp.Close()
	}
}

func closeClaims(claims []claim) {
	for _, c := range claims {
		c.close()
	}
}

// claimPorts binds every port, so that one that can't be had is told before
// anything is started. A port on all addresses is claimed for both families,
// where the host has both, and what was left open gets a number: those are the
// ports of the result.
func claimPorts(ports []Port) (claims []claim, err error) {
	defer func() {
		if err != nil {
			closeClaims(claims)
		}
	}()
	for _, p := range ports {
		more, err := claimPort(p)
		if err != nil {
			return claims, portError(p, err)
		}
		claims = append(claims, more...)
	}
	return claims, nil
}

// tries is how often a free number is sought that both families have.
const tries = 16

// claimPort claims one port, in a range the first free one.
func claimPort(p Port) (claims []claim, err error) {
	last := max(p.HostPort, p.HostLast)
	if p.HostPort == 0 {
		for range tries {
			if claims, err = claimNumber(p, 0); !errors.Is(err, unix.EADDRINUSE) {
				break
			}
		}
		return claims, err
	}
	for number := int(p.HostPort); number <= int(last); number++ {
		if claims, err = claimNumber(p, uint16(number)); err == nil {
			return claims, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EACCES) {
			return nil, err
		}
	}
	return nil, err
}

// claimNumber claims a number, 0 for any free one, on the addresses of a port.
func claimNumber(p Port, number uint16) (claims []claim, err error) {
	addresses := []string{p.HostIP}
	if p.HostIP == "" {
		addresses = []string{anyIPv4, anyIPv6}
	}
	for _, ip := range addresses {
		c, err := bind(Port{HostIP: ip, HostPort: number, ContainerPort: p.ContainerPort, Proto: p.Proto})
		if p.HostIP == "" && ip == anyIPv6 && isMissingFamily(err) {
			continue
		}
		if err != nil {
			closeClaims(claims)
			return nil, err
		}
		claims = append(claims, c)
		number = c.HostPort
	}
	return claims, nil
}

// isMissingFamily tells that the host has no IPv6.
func isMissingFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// bind binds a port that has an address.
func bind(p Port) (claim, error) {
	addr, err := netip.ParseAddr(p.HostIP)
	if err != nil {
		return claim{}, err
	}
	family := "4"
	if addr.Is6() && !addr.Is4In6() {
		family = "6" // and no other: by Go's rules the socket is for IPv6 only
	}
	at := netip.AddrPortFrom(addr, p.HostPort).String()
	if p.Proto == "udp" {
		listen := net.ListenConfig{Control: tellDestination}
		conn, err := listen.ListenPacket(context.Background(), "udp"+family, at)
		if err != nil {
			return claim{}, err
		}
		p.HostPort = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		return claim{Port: p, udp: conn.(*net.UDPConn)}, nil
	}
	l, err := net.Listen("tcp"+family, at)
	if err != nil {
		return claim{}, err
	}
	p.HostPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
	return claim{Port: p, tcp: l.(*net.TCPListener)}, nil
}

// tellDestination has the kernel tell with each datagram which of the host's
// addresses it came to: the answer must come from there.
func tellDestination(network, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		if network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	return errors.Join(controlErr, os.NewSyscallError("setsockopt", err))
}

// PortInUseError says that somebody else has a port of the host.
type PortInUseError struct {
	Port  uint16
	Proto string
}

func (e PortInUseError) Error() string {
	return fmt.Sprintf("port %d of this host is in use", e.Port)
}

// portError says why a port can't be had, and what to do.
func portError(p Port, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE) && p.HostPort == 0:
		return fault.New("name one: -p PORT:"+p.Container(), "publishing %s: this host has no free port", p)
	case errors.Is(err, unix.EADDRINUSE) && p.HostLast != 0:
		return fault.New("use a longer range", "publishing %s: all of these ports of the host are in use", p)
	case errors.Is(err, unix.EADDRINUSE):
		return fault.New(fmt.Sprintf("ss -lnp 'sport = :%d'    # tells who has it; or publish on another port", p.HostPort),
			"publishing %s: %w", p, PortInUseError{p.HostPort, p.Proto})
	case errors.Is(err, unix.EACCES):
		start, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
		first := strings.TrimSpace(string(start))
		return fault.New(fmt.Sprintf("use a port from %s on: -p %d:%s\nor let ordinary users have it: sudo sysctl net.ipv4.ip_unprivileged_port_start=%d",
			first, alternative(p.HostPort), p.Container(), p.HostPort),
			"publishing %s: ports below %s are root's", p, first)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fault.New("ulimit -Hn    # tells how many; publish fewer ports", "publishing %s: a process may not have as many files open as there are ports", p)
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
		return fault.New("ip address    # lists the host's addresses", "publishing %s: %s isn't an address of this host", p, p.HostIP)
	}
	return fault.New("", "publishing %s: %w", p, err)
}

// alternative gives the port that is customary where one can't be had.
func alternative(port uint16) int {
	n, err := strconv.Atoi("8" + fmt.Sprintf("%03d", port))
	if err != nil || n > 65535 {
		return 8080
	}
	return n
}
