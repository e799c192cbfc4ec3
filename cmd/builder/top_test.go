package main

import (
	"slices"
	"testing"

	"github.com/builder-oci/builder/rootless/network"
)

func TestRowsOfPsAreTheContainers(t *testing.T) {
	const out = "UID        PID  PPID CMD\nme          10     1 nginx: master process\nyou         11     1 sh\nme         12    10 -\n"
	rows, err := processRows(out, []int{10, 12})
	want := [][]string{{"UID", "PID", "PPID", "CMD"}, {"me", "10", "1", "nginx: master process"}, {"me", "12", "10", "-"}}
	if err != nil || !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("%q, %v", rows, err)
	}
	if _, err := processRows("USER CMD\nme sh\n", nil); err == nil {
		t.Error("no PID, and no error")
	}
}

func TestPortsAreListedAsDockerDoes(t *testing.T) {
	ports := []network.Port{
		{HostIP: "127.0.0.1", HostPort: 8443, ContainerPort: 443, Proto: "tcp"},
		{HostPort: 8080, ContainerPort: 80, Proto: "tcp"},
		{HostIP: "::", HostPort: 8080, ContainerPort: 80, Proto: "tcp"},
	}
	want := []string{"80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "443/tcp -> 127.0.0.1:8443"}
	if lines := portLines(ports, ""); !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	if lines := portLines(ports, "443/tcp"); !slices.Equal(lines, []string{"127.0.0.1:8443"}) {
		t.Errorf("%q", lines)
	}
}
