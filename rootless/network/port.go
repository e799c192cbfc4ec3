package network

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// Port publishes one port of a container on the host.
type Port struct {
	HostIP        string `json:"host_ip,omitempty"`   // empty: all addresses of the host
	HostPort      uint16 `json:"host_port,omitempty"` // zero: any free one
	HostLast      uint16 `json:"host_last,omitempty"` // not zero: any free one from HostPort to this
	ContainerPort uint16 `json:"container_port"`
	Proto         string `json:"proto"` // "tcp" or "udp"
}

// String gives the port as docker prints it: "0.0.0.0:8080->80/tcp".
func (p Port) String() string {
	ip, port := p.HostIP, strconv.Itoa(int(p.HostPort))
	if ip == "" {
		ip = anyIPv4
	}
	if p.HostLast != 0 {
		port += "-" + strconv.Itoa(int(p.HostLast))
	}
	return fmt.Sprintf("%s->%s", net.JoinHostPort(ip, port), p.Container())
}

// Container gives the port inside, as docker names it: "80/tcp".
func (p Port) Container() string { return fmt.Sprintf("%d/%s", p.ContainerPort, p.Proto) }

// ParsePort reads docker's [ip:][host]:container[/proto]. host and container
// may be ranges of the same length (8000-8002:80-82), or host alone one to
// choose from (8000-8099:80). An IPv6 address stands in brackets, and a missing
// host port means any free one. docker's other form, published=8080,target=80,
// is read as well.
func ParsePort(s string) ([]Port, error) {
	bad := func(why string) ([]Port, error) {
		return nil, fault.New("write it as [ip:][hostport:]containerport[/tcp|/udp], for example 127.0.0.1:8080:80",
			"port %q: %s", s, why)
	}
	text, err := standardForm(s)
	if err != nil {
		return bad(err.Error())
	}
	rest, proto, err := splitProto(text)
	if err != nil {
		return bad(err.Error())
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
	}
	choice := cFirst == cLast && hLast > hFirst
	if host != "" && !choice && hLast-hFirst != cLast-cFirst {
		return bad("the two ranges differ in length")
	}
	var ports []Port
	for i := range int(cLast-cFirst) + 1 {
		p := Port{HostIP: ip, ContainerPort: cFirst + uint16(i), Proto: proto}
		if host != "" {
			p.HostPort = hFirst + uint16(i)
		}
		if choice {
			p.HostLast = hLast
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// standardForm turns published=8080,target=80,protocol=udp into 8080:80/udp,
// and leaves other words as they are.
func standardForm(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return s, nil
	}
	var host, container, proto string
	for field := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "published":
			host = value + ":"
		case "target":
			container = value
		case "protocol":
			proto = "/" + value
		default:
			return "", fmt.Errorf("%q isn't one of published, target and protocol", name)
		}
	}
	return host + container + proto, nil
}

// splitProto cuts the protocol off; without one it is TCP.
func splitProto(s string) (rest, proto string, err error) {
	rest, proto, found := strings.Cut(s, "/")
	if !found {
		return rest, "tcp", nil
	}
	if proto = strings.ToLower(proto); proto != "tcp" && proto != "udp" {
		return "", "", fmt.Errorf("the protocol must be tcp or udp, not %q", proto)
	}
	return rest, proto, nil
}

// Exposed gives what -P publishes: every port that the image tells of by EXPOSE
// ("80/tcp", "8000-8010/udp"), at any free one of the host, but for those of
// published, which the user has seen to. The result is in the order of exposed.
func Exposed(exposed []string, published []Port) ([]Port, error) {
	seen := map[string]bool{}
	for _, p := range published {
		seen[p.Container()] = true
	}
	var ports []Port
	for _, text := range exposed {
		rest, proto, err := splitProto(text)
		if err != nil {
			return nil, fault.New("", "the image exposes port %q: %w", text, err)
		}
		first, last, err := parseRange(rest)
		if err != nil {
			return nil, fault.New("", "the image exposes port %q: %w", text, err)
		}
		for i := range int(last-first) + 1 {
			p := Port{ContainerPort: first + uint16(i), Proto: proto}
			if !seen[p.Container()] {
				ports = append(ports, p)
			}
			seen[p.Container()] = true
		}
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
