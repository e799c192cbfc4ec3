package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/rootless/network"
)

// shownPort is a port as docker lists it: of one that isn't published the address
// is the zero one.
type shownPort struct {
	address         netip.Addr
	public, private uint16
	proto           string
}

// portList gives the ports of a container as docker prints them: those that have
// the same number on both sides in ranges, by address and protocol, and then the
// others.
//
//	0.0.0.0:80->80/tcp, 443/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, 127.0.0.1:8080->90/tcp
func portList(published, exposed []network.Port) string {
	shown := shownPorts(published, exposed)
	var groups []*portGroup
	var ranges, others []string
	for _, p := range shown {
		if p.address.IsValid() && p.public != p.private {
			others = append(others, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.address.String(), strconv.Itoa(int(p.public))), p.private, p.proto))
			continue
		}
		i := slices.IndexFunc(groups, func(g *portGroup) bool { return g.address == p.address && g.proto == p.proto })
		switch {
		case i < 0:
			groups = append(groups, &portGroup{p.address, p.proto, p.private, p.private})
		case int(p.private) == int(groups[i].last)+1:
			groups[i].last = p.private
		default:
			ranges = append(ranges, groups[i].String())
			groups[i].first, groups[i].last = p.private, p.private
		}
	}
	for _, g := range groups {
		ranges = append(ranges, g.String())
	}
	return strings.Join(append(ranges, others...), ", ")
}

// portGroup is a range of ports, each of which has its own number on the host, or
// isn't published.
type portGroup struct {
	address     netip.Addr
	proto       string
	first, last uint16
}

func (g portGroup) String() string {
	text := strconv.Itoa(int(g.first))
	if g.last != g.first {
		text += "-" + strconv.Itoa(int(g.last))
	}
	if g.address.IsValid() {
		text = net.JoinHostPort(g.address.String(), text) + "->" + text
	}
	return text + "/" + g.proto
}

// shownPorts puts both kinds into docker's order. A port that is published isn't
// shown as exposed.
func shownPorts(published, exposed []network.Port) []shownPort {
	var shown []shownPort
	for _, p := range published {
		address, err := netip.ParseAddr(p.HostIP)
		if err != nil {
			address = netip.IPv4Unspecified() // all addresses
		}
		shown = append(shown, shownPort{address, p.HostPort, p.ContainerPort, p.Proto})
	}
	for _, p := range exposed {
		is := func(q network.Port) bool { return q.ContainerPort == p.ContainerPort && q.Proto == p.Proto }
		if !slices.ContainsFunc(published, is) {
			shown = append(shown, shownPort{private: p.ContainerPort, proto: p.Proto})
		}
	}
	slices.SortFunc(shown, func(a, b shownPort) int {
		return cmp.Or(cmp.Compare(a.private, b.private), a.address.Compare(b.address), cmp.Compare(a.public, b.public), cmp.Compare(a.proto, b.proto))
	})
	return shown
}

// portRange reads 80, 80/udp or 8000-8080/tcp.
func portRange(text string) (first, last uint16, proto string, ok bool) {
	text, proto, found := strings.Cut(text, "/")
	if !found || proto == "" {
		proto = "tcp"
	}
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	return uint16(a), uint16(b), strings.ToLower(proto), err == nil && err2 == nil && a <= b
}

// portsIn gives each port of a range.
func portsIn(first, last uint16, proto string) []network.Port {
	var ports []network.Port
	for n := int(first); n <= int(last); n++ {
		ports = append(ports, network.Port{ContainerPort: uint16(n), Proto: proto})
	}
	return ports
}
