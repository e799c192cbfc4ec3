package sandbox

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestParseSecurity(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile.json")
	const text = `{"defaultAction": "SCMP_ACT_ALLOW"}`
	write(t, profile, text)
	for option, want := range map[string]Security{
		"seccomp=" + profile:         {Seccomp: text},
		"seccomp=unconfined":         {NoSeccomp: true},
		"seccomp:unconfined":         {NoSeccomp: true},
		"seccomp=builtin":            {},
		"apparmor=unconfined":        {},
		"label=disable":              {},
		"label:disable":              {},
		"no-new-privileges":          {NoNewPrivileges: true},
		"no-new-privileges:true":     {NoNewPrivileges: true},
		"no-new-privileges=false":    {},
		"mask=/proc/a:/sys/b":        {Mask: []string{"/proc/a", "/sys/b"}},
		"unmask=all":                 {Unmask: []string{"ALL"}},
		"unmask=/proc/*:/sys/dev":    {Unmask: []string{"/proc/*", "/sys/dev"}},
		"systempaths=unconfined":     {Unmask: []string{"ALL"}},
		"no-new-privileges=1":        {NoNewPrivileges: true},
		"seccomp=default":            {},
		"mask=/with=equals:/and/one": {Mask: []string{"/with=equals", "/and/one"}},
	} {
		if got, err := ParseSecurity([]string{option}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", option, got, err, want)
		}
	}
	// The last of several counts.
	if got, err := ParseSecurity([]string{"seccomp=" + profile, "seccomp=unconfined"}); err != nil || !reflect.DeepEqual(got, Security{NoSeccomp: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, option := range []string{
		"", "seccomp", "seccomp=" + profile + ".not", "apparmor=", "label=user:x", "label", "no-new-privileges=x",
		"mask=", "mask=a", "unmask=[", "unmask=/[", "systempaths=confined", "credentialspec=file",
	} {
		if got, err := ParseSecurity([]string{option}); err == nil || !strings.Contains(err.Error(), "--security-opt "+option+": ") {
			t.Errorf("%q: %+v, %v; want an error", option, got, err)
		}
	}
	if _, err := ParseSecurity([]string{"speed=high"}); !strings.Contains(fault.Remedy(err), "seccomp=FILE") {
		t.Errorf("%v", err)
	}
}

func TestHiddenPaths(t *testing.T) {
	for _, tc := range []struct {
		name             string
		spec             Spec
		masked, readOnly string // one that must be there; "-NAME" is one that mustn't
	}{
		{"docker's", Spec{}, "/proc/kcore", "/proc/sys"},
		{"insecure", Spec{Insecure: true}, "-/proc/kcore", "-/proc/sys"},
		{"insecure, and masked by the user", Spec{Insecure: true, Security: Security{Mask: []string{"/a"}}}, "/a", "-/proc/sys"},
		{"a pattern", Spec{Security: Security{Unmask: []string{"/proc/kc*"}}}, "-/proc/kcore", "/proc/sys"},
		{"a pattern that matches no other", Spec{Security: Security{Unmask: []string{"/proc/kc*"}}}, "/proc/keys", "/proc/sys"},
		{"a read-only one", Spec{Security: Security{Unmask: []string{"/proc/sys"}}}, "/proc/kcore", "-/proc/sys"},
		{"all", Spec{Security: Security{Unmask: []string{"ALL"}}}, "-/proc/kcore", "-/proc/sys"},
	} {
		masked, readOnly := tc.spec.HiddenPaths()
		for want, got := range map[string][]string{tc.masked: masked, tc.readOnly: readOnly} {
			path, not := strings.CutPrefix(want, "-")
			if slices.Contains(got, path) == not {
				t.Errorf("%s: %s in %v", tc.name, want, got)
			}
		}
	}
}

func TestProgramIsConfinedAsToldTo(t *testing.T) {
	profile := `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["unlink", "unlinkat"], "action": "SCMP_ACT_ERRNO"}]}`
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		base := shell(t, "")
		remove := "echo > /tmp/x; busybox rm /tmp/x 2>/dev/null && echo removed || echo kept"
		all := "CapEff:\t000001ffffffffff\n"
		for _, tc := range []struct {
			name, script string
			change       func(*Spec)
			want         string
		}{
			{"insecure: capabilities", "grep CapEff /proc/self/status", func(s *Spec) { s.Insecure = true }, all},
			{"insecure: no filter", "grep Seccomp: /proc/self/status", func(s *Spec) { s.Insecure = true }, "Seccomp:\t0\n"},
			{"insecure: nothing read-only", "grep -c ' /proc/sys ' /proc/self/mountinfo || true", func(s *Spec) { s.Insecure = true }, "0\n"},
			{"insecure, less what is dropped", "grep CapEff /proc/self/status", func(s *Spec) {
				s.Insecure, s.CapDrop = true, []string{"CHOWN"}
			}, "CapEff:\t000001fffffffffe\n"},
			{"insecure, all dropped", "grep CapEff /proc/self/status", func(s *Spec) {
				s.Insecure, s.CapDrop = true, []string{"ALL"}
			}, "CapEff:\t0000000000000000\n"},
			{"insecure, with the user's profile", remove, func(s *Spec) {
				s.Insecure, s.Security.Seccomp = true, profile
			}, "kept\n"},
			{"docker's profile", remove, nil, "removed\n"},
			{"the user's profile", remove, func(s *Spec) { s.Security.Seccomp = profile }, "kept\n"},
			{"no profile", "grep Seccomp: /proc/self/status", func(s *Spec) { s.Security.NoSeccomp = true }, "Seccomp:\t0\n"},
			{"no new privileges", "grep NoNewPrivs /proc/self/status", func(s *Spec) { s.Security.NoNewPrivileges = true }, "NoNewPrivs:\t1\n"},
			{"masked", "cat /proc/version", func(s *Spec) { s.Security.Mask = []string{"/proc/version"} }, ""},
		} {
			s := base
			s.Args = []string{"sh", "-c", tc.script}
			if tc.change != nil {
				tc.change(&s)
			}
			if got := output(t, o, s); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
			}
		}
	})
}

func TestOnlyDevicesThatTheUserMayOpenAreGiven(t *testing.T) {
	if devices := (Spec{}).devices(); devices != nil {
		t.Errorf("%v", devices)
	}
	for _, device := range (Spec{Insecure: true}).devices() {
		if _, err := os.Stat(device); err != nil {
			t.Error(err)
		}
	}
	if MayOpen("/dev/gone") || !MayOpen("/dev/null") {
		t.Error("/dev/gone can be opened, or /dev/null can't")
	}
}
