package sandbox

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

func TestKernelParametersAreTheSandboxsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range")
		s.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "net.ipv4.ping_group_range": "0 0"}
		if got := output(t, o, s); got != "80\n0\t0\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestKernelParametersOfTheMachineAreRefused(t *testing.T) {
	needNamespace(t)
	o := NewOCI(runtimes(t)[0], "", true)
	for name, mode := range map[string]network.Mode{"net.ipv4.ip_forward": network.ModeHost, "vm.swappiness": network.ModeNone} {
		s := shell(t, "true")
		s.Network, s.Sysctls = mode, map[string]string{name: "1"}
		_, err := o.Run(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), "whole machine's") || fault.Remedy(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOOMScoreCanOnlyBeRaised(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "cat /proc/self/oom_score_adj")
		s.OOMScoreAdj = 900
		if got := output(t, o, s); got != "900\n" {
			t.Errorf("%q", got)
		}
		s.OOMScoreAdj = -900
		if _, err := o.Run(t.Context(), s); err == nil || !strings.Contains(fault.Remedy(err), "to 1000") {
			t.Errorf("%v", err)
		}
	})
}
