package sandbox

import "testing"

func TestKernelParametersAreTheSandboxsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range")
		s.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "net.ipv4.ping_group_range": "0 0"}
		if got := output(t, o, s); got != "80\n0\t0\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestOOMScoreIsTheProgramsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "cat /proc/self/oom_score_adj")
		s.OOMScoreAdj = 900
		if got := output(t, o, s); got != "900\n" {
			t.Errorf("%q", got)
		}
	})
}
