package emulate

import (
	"slices"
	"testing"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
)

func rulesOf(p *rspec.LinuxSeccomp, name string) (rules []rspec.LinuxSyscall) {
	for _, r := range p.Syscalls {
		if slices.Contains(r.Names, name) {
			rules = append(rules, r)
		}
	}
	return rules
}

func TestOnlyWhatIsAllowedIsHandedOver(t *testing.T) {
	profile := &rspec.LinuxSeccomp{
		DefaultAction: rspec.ActErrno,
		Syscalls: []rspec.LinuxSyscall{
			{Names: []string{"chown", "read", "openat", "setuid"}, Action: rspec.ActAllow},
			{Names: []string{"setuid"}, Action: rspec.ActErrno},
			{Names: []string{"fchown"}, Action: rspec.ActAllow, Args: []rspec.LinuxSeccompArg{{Index: 1}}},
		},
	}
	p := Extend(profile, Emulate, "/socket")
	if p.ListenerPath != "/socket" {
		t.Errorf("the listener is %q", p.ListenerPath)
	}
	if r := rulesOf(p, "chown"); len(r) != 1 || r[0].Action != rspec.ActNotify {
		t.Errorf("chown: %v", r)
	}
	if r := rulesOf(p, "openat"); len(r) != 3 || r[0].Action != rspec.ActNotify || r[1].Action != rspec.ActNotify || r[2].Action != rspec.ActAllow {
		t.Errorf("openat: %v", r)
	}
	for _, name := range []string{"read", "fchown", "lchown"} {
		if r := rulesOf(p, name); slices.ContainsFunc(r, func(r rspec.LinuxSyscall) bool { return r.Action == rspec.ActNotify }) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := rulesOf(p, "setuid"); len(r) != 2 || r[0].Action != rspec.ActAllow || r[1].Action != rspec.ActErrno {
		t.Errorf("setuid, which another rule denies: %v", r)
	}
	if len(profile.Syscalls[0].Names) != 4 {
		t.Error("the given profile was changed")
	}
}

func TestWithoutAProfileAllElseIsAllowed(t *testing.T) {
	p := Extend(nil, Observe, "/socket")
	if p.DefaultAction != rspec.ActAllow {
		t.Errorf("others: %s", p.DefaultAction)
	}
	if r := rulesOf(p, "chown"); len(r) != 3 || r[0].Args[0].Index != 1 || r[1].Args[0].Index != 2 || r[2].Action != rspec.ActAllow || len(r[2].Args) != 2 {
		t.Errorf("chown: %v", r)
	}
	if r := rulesOf(p, "stat"); r != nil {
		t.Errorf("stat is watched: %v", r)
	}
}
