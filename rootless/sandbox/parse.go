package sandbox

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"golang.org/x/sys/unix"
)

// Ulimit is one resource limit.
type Ulimit struct {
	Name string `json:"name"` // without RLIMIT_, in lower case: "nofile"
	Soft uint64 `json:"soft"` // Unlimited where there is none, as Hard
	Hard uint64 `json:"hard"`
}

// Unlimited is the absence of a limit.
const Unlimited = unix.RLIM_INFINITY

// ulimits are the limits that docker knows, by their numbers.
var ulimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// ParseUlimit reads docker's name=soft[:hard]; -1 or "unlimited" is no limit.
func ParseUlimit(s string) (Ulimit, error) {
	bad := func(why string) (Ulimit, error) {
		return Ulimit{}, fault.New("write it as name=soft[:hard], for example nofile=1024:2048", "ulimit %q: %s", s, why)
	}
	name, value, found := strings.Cut(s, "=")
	if !found {
		return bad("it has no value")
	}
	name = strings.ToLower(name)
	if _, known := ulimits[name]; !known {
		return bad(fmt.Sprintf("there is no limit named %q", name))
	}
	softText, hardText, two := strings.Cut(value, ":")
	if !two {
		hardText = softText
	}
	soft, err := parseLimit(softText)
	if err != nil {
		return bad(err.Error())
	}
	hard, err := parseLimit(hardText)
	if err != nil {
		return bad(err.Error())
	}
	if soft > hard {
		return bad("the soft limit is above the hard one")
	}
	return Ulimit{Name: name, Soft: soft, Hard: hard}, nil
}

func parseLimit(s string) (uint64, error) {
	if s == "-1" || s == "unlimited" {
		return Unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q isn't a number", s)
	}
	return n, nil
}

// check tells whether the kernel will grant the limit: an unprivileged user
// can lower the hard limit, never raise it.
func (u Ulimit) check() error {
	var have unix.Rlimit
	if err := unix.Getrlimit(ulimits[u.Name], &have); err != nil {
		return fmt.Errorf("ulimit %s: %w", u.Name, err)
	}
	if u.Hard <= have.Max {
		return nil
	}
	return fault.New("raise it for the user in /etc/security/limits.conf and log in again, or ask for less",
		"ulimit %s: %s is above this session's hard limit of %s", u.Name, limitText(u.Hard), limitText(have.Max))
}

func limitText(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// ParseAddHost reads docker's name:address (or name=address) and gives a line
// for HostsFile. An IPv6 address may stand in brackets. For network.HostGateway
// in an address's place, [network.Network.Hosts] puts the host's.
func ParseAddHost(s string) (string, error) {
	name, address, found := strings.Cut(s, "=")
	if !found {
		name, address, found = strings.Cut(s, ":")
	}
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	_, err := netip.ParseAddr(address)
	if address == network.HostGateway {
		err = nil
	}
	if !found || name == "" || strings.ContainsAny(name, " \t\n#") || err != nil {
		return "", fault.New("write it as name:address, for example db:10.0.0.5", "host %q isn't a name with an IP address", s)
	}
	return address + "\t" + name, nil
}

// HostsFile gives the content of /etc/hosts: the loopback's names, hostname
// with its address ip, and extra lines by ParseAddHost.
func HostsFile(hostname, ip string, extra []string) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	for _, line := range extra {
		b.WriteString(line + "\n")
	}
	if hostname != "" && ip != "" {
		b.WriteString(ip + "\t" + hostname + "\n")
	}
	return b.Bytes()
}
