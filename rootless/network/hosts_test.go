package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestHostsNamesTheHost(t *testing.T) {
	needHost(t)
	private := Network{Mode: ModePrivate}
	asked := []string{"10.0.0.5\tdb", HostGateway + "\tgate"}
	got, err := private.Hosts(asked)
	want := []string{"10.0.0.5\tdb", hostIP + "\tgate"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	got, err = private.ContainerHosts([]string{"10.0.0.6\thost.docker.internal"})
	want = []string{"10.0.0.6\thost.docker.internal", hostIP + "\thost.containers.internal"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := (Network{Mode: ModeNone}).ContainerHosts(nil); err != nil || len(got) > 0 {
		t.Errorf("without a network: %q, %v", got, err)
	}
	if got, err := (Network{Mode: ModeHost}).ContainerHosts(nil); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.1\t") {
		t.Errorf("in the host's network: %q, %v", got, err)
	}
}

func TestHostThatIsConnectedToNothingHasNoGateway(t *testing.T) {
	needHost(t)
	shell(t, "ip route del default; ip -6 route del default")
	defer shell(t, "ip route add default via 192.0.2.1; ip -6 route add default via fd00:1::1")
	// The test's own network is 192.0.2.0/24, and is taken for anywhere.
	shell(t, "ip addr del "+hostIP+"/24 dev out0")
	defer shell(t, "ip addr add "+hostIP+"/24 dev out0")
	n := Network{Mode: ModePrivate}
	if got, err := n.Hosts([]string{HostGateway + "\tgate"}); fault.Remedy(err) == "" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := n.ContainerHosts(nil); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHostIsReachedFromInside(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		ns := published(t, h)
		port := greeter(t, "0.0.0.0:0", "host")
		lines, err := ns.Network().ContainerHosts(nil)
		if err != nil || len(lines) != 1 {
			t.Fatalf("%q, %v", lines, err)
		}
		ip := strings.Fields(lines[0])[0]
		err = within(ns.Path, func() error {
			word, err := greet(fmt.Sprintf("%s:%d", ip, port))
			if word != "host" {
				t.Errorf("%s says %q", ip, word)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
