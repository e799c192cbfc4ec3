package network

import (
	"net/netip"
	"os"
	"strings"
)

// DNS is what the user wants of the resolver; the zero value takes all from
// the host.
type DNS struct {
	Servers []string // addresses
	Search  []string // domains
	Options []string // such as "ndots:2"
}

// forward and forward6 are where a private network answers queries by the
// host's first resolver, when that listens on the host's loopback. They are
// slirp4netns's own.
const (
	forward  = "10.0.2.3"
	forward6 = "fd00::3"
)

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
// is where nothing needs to change. In a private network, which doesn't reach
// the host's loopback, a first server there is replaced by the address that
// forwards to it; further ones are left out, for only the first is forwarded.
func (d DNS) resolvConf(host []byte, private bool) []byte {
	var servers, search, options, out []string
	changed := len(d.Servers)+len(d.Search)+len(d.Options) > 0
	for line := range strings.Lines(string(host)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			server := fields[1]
			if private && isLoopback(server) {
				changed = true
				if len(servers) > 0 {
					continue
				}
				server = forwardAddress(host)
			}
			servers = append(servers, server)
		case "search", "domain":
			search = fields[1:]
		case "options":
			options = append(options, fields[1:]...)
		}
	}
	if !changed {
		return host
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

// forwardAddress gives the address that must forward to the host's first
// resolver, "" where that can be reached without. pasta must be told only
// then: the answers that the same resolver gives to direct queries would bear
// the forwarding address.
func forwardAddress(host []byte) string {
	for line := range strings.Lines(string(host)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		switch {
		case !isLoopback(fields[1]):
			return ""
		case strings.Contains(fields[1], ":"):
			return forward6
		}
		return forward
	}
	return ""
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
