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

// forward is the address at which a private network answers DNS queries by
// the host's first resolver. It is slirp4netns's own default.
const forward = "10.0.2.3"

// resolved lists where systemd-resolved keeps the servers behind its stub.
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

// resolvConf makes the sandbox's file from the host's. Where loopback isn't
// empty, servers that listen on the host's loopback, which a private network
// doesn't reach, are replaced by that address. The host's file is returned as
// it is where nothing needs to change.
func (d DNS) resolvConf(host []byte, loopback string) []byte {
	var servers, search, options, out []string
	changed := len(d.Servers)+len(d.Search)+len(d.Options) > 0
	for line := range strings.Lines(string(host)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if loopback != "" && isLoopback(fields[1]) {
				changed = true
				fields[1] = loopback
			}
			servers = appendNew(servers, fields[1])
		case "search", "domain":
			search = fields[1:]
		case "options":
			options = append(options, fields[1:]...)
		}
	}
	if len(servers) == 0 && loopback != "" {
		// Without a server the C library asks 127.0.0.1.
		servers, changed = []string{loopback}, true
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

// firstLoopback is the first of the host's servers where that listens on the
// loopback, which is the case in which a query must be forwarded.
func firstLoopback(host []byte) (netip.Addr, bool) {
	for line := range strings.Lines(string(host)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" || !isLoopback(fields[1]) {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		return addr, err == nil
	}
	return netip.Addr{}, false
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

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}
