package network

import (
	"net"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// HostGateway stands for the host in a line of a hosts file, as docker has it.
const HostGateway = "host-gateway"

// hostNames are podman's names for the host, as seen from a container; the
// second is Docker Desktop's as well.
var hostNames = []string{"host.containers.internal", "host.docker.internal"}

// Hosts gives the lines ("address<TAB>name…") for a sandbox's hosts file: the
// user's, with the host's address in the place of HostGateway.
func (n Network) Hosts(lines []string) ([]string, error) {
	var out []string
	for _, line := range lines {
		names, gateway := strings.CutPrefix(line, HostGateway+"\t")
		if gateway {
			ip := n.hostIP()
			if ip == "" {
				return nil, fault.New("name an address in the place of "+HostGateway,
					"the host has no address by which %s could reach it: it is connected to nothing", names)
			}
			line = ip + "\t" + names
		}
		out = append(out, line)
	}
	return out, nil
}

// ContainerHosts is Hosts with a line for the host itself, as podman has it.
func (n Network) ContainerHosts(lines []string) ([]string, error) {
	out, err := n.Hosts(lines)
	if err != nil || n.Mode == ModeNone {
		return out, err
	}
	has := map[string]bool{}
	for _, line := range out {
		for _, name := range strings.Fields(line)[1:] {
			has[name] = true
		}
	}
	var names []string
	for _, name := range hostNames {
		if !has[name] {
			names = append(names, name)
		}
	}
	if ip := n.hostIP(); ip != "" && len(names) > 0 {
		out = append(out, ip+"\t"+strings.Join(names, " "))
	}
	return out, nil
}

// hostIP gives an address of the host that is reached from inside: never its
// loopback's, but in its own network. It is "" where there is none.
func (n Network) hostIP() string {
	if n.Mode == ModeHost {
		return "127.0.0.1"
	}
	// The address that the kernel would send from; nothing is sent.
	for _, anywhere := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", anywhere)
		if err != nil {
			continue
		}
		ip := conn.LocalAddr().(*net.UDPAddr).IP
		_ = conn.Close()
		if !ip.IsLoopback() {
			return ip.String()
		}
	}
	return ""
}
