package network

import (
	"net/netip"
	"os"
	"strings"
)

// DNS is what the user wants of the resolver; the zero value takes all from
// the host.
type DNS struct {
	Servers []string `json:"servers,omitempty"` // addresses
	Search  []string `json:"search,omitempty"`  // domains
	Options []string `json:"options,omitempty"` // such as "ndots:2"
}

// forward and forward6 are where a private network answers queries by the
// host's first resolver of the same family, when that listens on the host's
// loopback. They are slirp4netns's own.
const (
	forward  = "10.0.2.3"
	forward6 = "fd00::3"
)

// reach is what of the host's resolvers a network reaches.
type reach struct {
	loopback bool // the host's own
	ipv6     bool // IPv6 addresses
}

const resolvConfPath = "/etc/resolv.conf"

// hostResolvConf reads the host's configuration; a missing one is empty, as
// resolvers take it.
func hostResolvConf() []byte {
	data, err := os.ReadFile(resolvConfPath)
	if err != nil {
		return nil
	}
	return data
}

// resolvConf makes the sandbox's file from the host's, which is returned as it
// is where nothing needs to change.
func (d DNS) resolvConf(host []byte, r reach) []byte {
	servers, changed := r.servers(host)
	changed = changed || len(d.Servers)+len(d.Search)+len(d.Options) > 0
	if !changed {
		return host
	}
	var search, options, out []string
	for line := range strings.Lines(string(host)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "search", "domain":
			search = fields[1:]
		case "options":
			options = append(options, fields[1:]...)
		}
	}
	for _, s := range override(servers, d.Servers) {
		out = append(out, "nameserver "+s)
	}
	if s := override(search, d.Search); len(s) > 0 && s[0] != "." {
		out = append(out, "search "+strings.Join(s, " "))
	}
	if o := override(options, d.Options); len(o) > 0 {
		out = append(out, "options "+strings.Join(o, " "))
	}
	return []byte(strings.Join(out, "\n") + "\n")
}

// servers gives the name servers for a sandbox, and whether they aren't simply
// the host's. Those that it doesn't reach are left out. A first one on the
// host's loopback is replaced by the address that forwards to it, further ones
// there are left out, for only the first is forwarded.
func (r reach) servers(host []byte) (servers []string, changed bool) {
	for _, server := range nameservers(host) {
		switch {
		case !r.ipv6 && isIPv6(server):
			changed = true
		case r.loopback || !isLoopback(server):
			servers = append(servers, server)
		default:
			changed = true
			if len(servers) > 0 {
				continue
			}
			if isIPv6(server) {
				servers = append(servers, forward6)
			} else {
				servers = append(servers, forward)
			}
		}
	}
	if changed && len(servers) == 0 {
		servers = []string{forward} // no resolver at all would mean the loopback
	}
	return servers, changed
}

// forwarder gives the address that must forward to the host's first resolver,
// "" where that can be reached without. pasta must be told only then: the
// answers that the same resolver gives to direct queries would bear the
// forwarding address.
func (r reach) forwarder(host []byte) string {
	servers, _ := r.servers(host)
	if len(servers) > 0 && (servers[0] == forward || servers[0] == forward6) {
		return servers[0]
	}
	return ""
}

// nameservers gives the servers of a resolv.conf.
func nameservers(conf []byte) (servers []string) {
	for line := range strings.Lines(string(conf)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers
}

func isIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && !addr.Is4In6()
}

// routesIPv6 tells whether the host has an IPv6 route to anywhere, without which
// pasta leaves IPv6 out.
func routesIPv6() bool {
	// The process's main thread may have gone into a namespace, see bindNew.
	data, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
	if err != nil {
		return false
	}
	const anywhere = "00000000000000000000000000000000"
	for line := range strings.Lines(string(data)) {
		// Destination, its prefix's length, source, the same, …, interface.
		fields := strings.Fields(line)
		if len(fields) == 10 && fields[0] == anywhere && fields[1] == "00" && fields[9] != "lo" {
			return true
		}
	}
	return false
}

func isLoopback(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
}

func override(host, user []string) []string {
	if len(user) > 0 {
		return user
	}
	return host
}
