package dockerfile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"
)

// ExposedPorts gives the ports of an expanded EXPOSE as an image config has
// them: "80/tcp", ranges as single ports, in the order of the text. A host's
// address or port before them is dropped, as docker does.
func ExposedPorts(cmd *instructions.ExposeCommand) ([]string, error) {
	var ports []string
	for _, word := range cmd.Ports {
		spec, proto, given := strings.Cut(word, "/")
		proto = strings.ToLower(proto)
		if !given || proto == "" {
			proto = "tcp"
		}
		if proto != "tcp" && proto != "udp" && proto != "sctp" {
			return nil, fmt.Errorf("port %q: the protocol is tcp, udp or sctp", word)
		}
		from, to, err := portRange(spec[strings.LastIndexByte(spec, ':')+1:])
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", word, err)
		}
		for p := from; p <= to; p++ {
			ports = append(ports, strconv.Itoa(p)+"/"+proto)
		}
	}
	return ports, nil
}

// portRange reads "80" or "8000-8010".
func portRange(spec string) (from, to int, err error) {
	first, last, isRange := strings.Cut(spec, "-")
	if from, err = portNumber(first); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return from, from, nil
	}
	if to, err = portNumber(last); err != nil {
		return 0, 0, err
	}
	if to < from {
		return 0, 0, fmt.Errorf("the range %s runs backwards", spec)
	}
	return from, to, nil
}

func portNumber(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no number from 0 to 65535", s)
	}
	return int(n), nil
}

// checkSignal accepts what docker does: a number, or a name with or without
// SIG, real-time signals counted from their ends.
func checkSignal(sig string) error {
	if n, err := strconv.Atoi(sig); err == nil {
		if n > 0 && n <= 64 {
			return nil
		}
		return fmt.Errorf("%q is no signal", sig)
	}
	name := strings.TrimPrefix(strings.ToUpper(sig), "SIG")
	if unix.SignalNum("SIG"+name) != 0 || realTimeSignal.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is no signal", sig)
}

var realTimeSignal = regexp.MustCompile(`^RT(MIN|MIN\+([1-9]|1[0-5])|MAX|MAX-([1-9]|1[0-4]))$`)

// scpLike is git's short form of an ssh address: user@host:path.
var scpLike = regexp.MustCompile(`^[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:`)

// isRemote says whether a source of ADD is fetched from elsewhere.
func isRemote(source string) bool {
	scheme, _, ok := strings.Cut(source, "://")
	if !ok {
		return scpLike.MatchString(source)
	}
	switch scheme {
	case "http", "https", "git", "ssh":
		return true
	}
	return false
}

// isSSH says whether a source of ADD is a git repository that is reached by ssh.
func isSSH(source string) bool {
	return scpLike.MatchString(source) || strings.HasPrefix(source, "ssh://")
}

func remoteCopy(source string) error {
	return fault.New("use ADD, which fetches", "COPY reads files only, not the address %s", source)
}
