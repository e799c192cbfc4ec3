package dockerfile

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// ExposedPorts gives the ports of an expanded EXPOSE as an image config has
// them: "80/tcp", ranges as single ports, in the order of the text. A host's
// address and port before them have to make sense and are dropped, as BuildKit
// does.
func ExposedPorts(cmd *instructions.ExposeCommand) ([]string, error) {
	var ports []string
	for _, word := range cmd.Ports {
		list, err := exposed(word)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", word, err)
		}
		ports = append(ports, list...)
	}
	return ports, nil
}

// exposed reads [[ADDRESS:]HOST:]PORT[-PORT][/PROTOCOL].
func exposed(word string) ([]string, error) {
	parts := strings.Split(word, ":")
	own := parts[len(parts)-1]
	spec, proto, _ := strings.Cut(own, "/")
	switch proto = strings.ToLower(proto); proto {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, errors.New("the protocol is tcp, udp or sctp")
	}
	from, to, err := portRange(spec)
	if err != nil {
		return nil, err
	}
	if len(parts) > 1 {
		address := strings.Join(parts[:len(parts)-2], ":")
		if err := checkHost(address, parts[len(parts)-2], to-from); err != nil {
			return nil, err
		}
	}
	var ports []string
	for p := from; p <= to; p++ {
		ports = append(ports, strconv.Itoa(p)+"/"+proto)
	}
	return ports, nil
}

// checkHost looks at what stands before the container's ports, of which there
// are more by one than width says.
func checkHost(address, ports string, width int) error {
	if bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"); bare != "" {
		if _, err := netip.ParseAddr(bare); err != nil {
			return fmt.Errorf("%q is no address", address)
		}
	}
	if ports == "" {
		return nil
	}
	from, to, err := portRange(ports)
	if err == nil && width != 0 && to-from != width {
		err = errors.New("the host's ports are more or fewer than the container's")
	}
	return err
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
