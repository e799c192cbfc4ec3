package stage

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

func TestKilledCommandIsToldByWhomAsFarAsKnown(t *testing.T) {
	for _, tc := range []struct {
		name   string
		exit   sandbox.Exit
		want   string
		remedy string
	}{
		{"its own code", sandbox.Exit{Code: 3, OOMUnknown: true}, "ended with exit code 3", "builder logs 0123456789ab "},
		{"out of memory", sandbox.Exit{Code: 137, Signal: 9, OOM: &sandbox.OOM{Cgroup: "/c"}}, "by the kernel's out-of-memory killer: cgroup /c", "more memory"},
		{"not for memory", sandbox.Exit{Code: 137, Signal: 9}, "not by the kernel's out-of-memory killer", "builder logs 0123456789ab "},
		{"unknown", sandbox.Exit{Code: 137, Signal: 9, OOMUnknown: true}, "is unknown", "dmesg"},
	} {
		err := exitError(tc.exit, "sha256:0123456789abcdef", nil)
		if !strings.Contains(err.Error(), tc.want) || !strings.Contains(fault.Remedy(err), tc.remedy) || fault.Code(err) != tc.exit.Code {
			t.Errorf("%s: %v (code %d, remedy %q)", tc.name, err, fault.Code(err), fault.Remedy(err))
		}
		if tc.exit.OOMUnknown && strings.Contains(err.Error(), "not by the kernel") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
