package network

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sys/unix"
)

func TestPortInUseIsToldWithRemedy(t *testing.T) {
	needHost(t)
	port := greeter(t, "127.0.0.1:0", "first")
	_, err := create(t, t.TempDir(), "", DNS{}, []Port{{HostIP: "127.0.0.1", HostPort: uint16(port), ContainerPort: 80, Proto: "tcp"}})
	if !strings.Contains(fmt.Sprint(err), "in use") || fault.Remedy(err) == "" {
		t.Errorf("error %v with remedy %q", err, fault.Remedy(err))
	}
}

func TestPortsThatCannotBeHadAreToldWithRemedy(t *testing.T) {
	refused := func(err error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", err)} }
	for _, test := range []struct {
		port          Port
		err           error
		cause, remedy string
	}{
		{Port{HostPort: 80, ContainerPort: 80, Proto: "tcp"}, unix.EACCES, "are root's", "ip_unprivileged_port_start=80"},
		{Port{HostPort: 443, ContainerPort: 443, Proto: "tcp"}, unix.EACCES, "are root's", "-p 8443:443/tcp"},
		{Port{HostPort: 8080, ContainerPort: 80, Proto: "udp"}, unix.EADDRINUSE, "0.0.0.0:8080->80/udp: port 8080 of this host is in use", "ss -lnp"},
		{Port{HostPort: 8080, HostLast: 8081, ContainerPort: 80, Proto: "tcp"}, unix.EADDRINUSE, "8080-8081->80/tcp: all", "longer range"},
		{Port{HostIP: "192.0.2.99", HostPort: 8080, ContainerPort: 80, Proto: "tcp"}, unix.EADDRNOTAVAIL, "192.0.2.99 isn't an address of this host", "ip address"},
	} {
		err := portError(test.port, refused(test.err))
		if !strings.Contains(err.Error(), test.cause) || !strings.Contains(fault.Remedy(err), test.remedy) {
			t.Errorf("%v with remedy %q", err, fault.Remedy(err))
		}
	}
}

func TestFirstFreePortOfARangeIsTaken(t *testing.T) {
	first, err := claimPorts([]Port{{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeClaims(first)
	taken := first[0].HostPort
	range3 := Port{HostIP: "127.0.0.1", HostPort: taken, HostLast: taken + 2, ContainerPort: 80, Proto: "tcp"}
	if taken > 65533 {
		t.Skip("the range has no place above the port that the kernel chose")
	}
	second, err := claimPorts([]Port{range3})
	if err != nil {
		t.Fatal(err)
	}
	defer closeClaims(second)
	if got := second[0]; got.HostPort <= taken || got.HostPort > taken+2 || got.HostLast != 0 {
		t.Errorf("claimed %+v of %+v", got.Port, range3)
	}
}

func TestFailedClaimGivesBackTheOthers(t *testing.T) {
	held, err := claimPorts([]Port{{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeClaims(held)
	free, err := claimPorts([]Port{{HostIP: "127.0.0.1", ContainerPort: 81, Proto: "udp"}})
	if err != nil {
		t.Fatal(err)
	}
	closeClaims(free)
	if _, err := claimPorts([]Port{free[0].Port, held[0].Port}); err == nil {
		t.Fatal("a port was claimed twice")
	}
	if free, err = claimPorts([]Port{free[0].Port}); err != nil {
		t.Errorf("a port is held by a claim that failed: %v", err)
	}
	closeClaims(free)
}
