package emulate

import (
	"runtime"
	"slices"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Calls by what of their arguments decides.
var (
	always = []string{
		"chown", "lchown", "fchown", "fchownat", "chown32", "lchown32", "fchown32",
		"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
		"setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setgroups32", "setfsuid32", "setfsgid32",
		"getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
		"getuid32", "geteuid32", "getgid32", "getegid32", "getresuid32", "getresgid32", "getgroups32",
		"stat", "lstat", "fstat", "newfstatat", "statx", "stat64", "lstat64", "fstat64", "fstatat64",
		"creat", "openat2", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat",
		"listxattr", "llistxattr", "flistxattr", "execve", "execveat", "exit_group", "capset",
	}
	// creating counts where a file may come to be, which the argument of that
	// place tells.
	creating = map[string]uint{"open": 1, "openat": 2}
	// options counts with one value of its first argument.
	options = map[string]uint64{"prctl": unix.PR_SET_KEEPCAPS}
	// changing counts, where calls are only watched, with another id than the
	// own one in one of these arguments.
	changing = map[string][]uint{
		"chown": {1, 2}, "lchown": {1, 2}, "fchown": {1, 2}, "fchownat": {2, 3},
		"chown32": {1, 2}, "lchown32": {1, 2}, "fchown32": {1, 2},
		"setuid": {0}, "setgid": {0}, "setreuid": {0, 1}, "setregid": {0, 1}, "setresuid": {0, 1, 2}, "setresgid": {0, 1, 2},
		"setuid32": {0}, "setgid32": {0}, "setreuid32": {0, 1}, "setregid32": {0, 1},
		"setresuid32": {0, 1, 2}, "setresgid32": {0, 1, 2},
		"setgroups": nil, "setgroups32": nil,
	}
)

// Extend gives a seccomp profile that hands over to the listener what the mode needs
// of the calls that the given one allows without conditions. Nil stands for one that
// allows all.
func Extend(profile *rspec.LinuxSeccomp, mode Mode, listener string) *rspec.LinuxSeccomp {
	extended := rspec.LinuxSeccomp{DefaultAction: rspec.ActAllow}
	if profile != nil {
		extended = *profile
	} else {
		extended.Architectures = architectures()
	}
	extended.ListenerPath = listener
	rules, allowed := take(extended.Syscalls, extended.DefaultAction == rspec.ActAllow, names(mode))
	extended.Syscalls = rules
	for _, name := range allowed {
		extended.Syscalls = append(extended.Syscalls, handOver(mode, name)...)
	}
	return &extended
}

func names(mode Mode) (names []string) {
	if mode == Observe {
		for name := range changing {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	return append(slices.Clone(always), "open", "openat", "prctl")
}

// take takes names out of the rules that allow them, and tells which those were.
func take(rules []rspec.LinuxSyscall, byDefault bool, names []string) (rest []rspec.LinuxSyscall, taken []string) {
	bound := map[string]bool{} // what another rule says something about
	for _, r := range rules {
		if r.Action != rspec.ActAllow || len(r.Args) > 0 {
			for _, name := range r.Names {
				bound[name] = true
			}
		}
	}
	found := map[string]bool{}
	for _, r := range rules {
		if r.Action == rspec.ActAllow && len(r.Args) == 0 {
			var stay []string
			for _, name := range r.Names {
				if slices.Contains(names, name) && !bound[name] {
					found[name] = true
				} else {
					stay = append(stay, name)
				}
			}
			if r.Names = stay; len(stay) == 0 {
				continue
			}
		}
		rest = append(rest, r)
	}
	for _, name := range names {
		if found[name] || byDefault && !bound[name] {
			taken = append(taken, name)
		}
	}
	return rest, taken
}

// handOver are the rules for one call.
func handOver(mode Mode, name string) []rspec.LinuxSyscall {
	rule := func(action rspec.LinuxSeccompAction, args ...rspec.LinuxSeccompArg) rspec.LinuxSyscall {
		return rspec.LinuxSyscall{Names: []string{name}, Action: action, Args: args}
	}
	if place, ok := creating[name]; ok {
		flag := func(mask, value uint64) rspec.LinuxSeccompArg {
			return rspec.LinuxSeccompArg{Index: place, Value: mask, ValueTwo: value, Op: rspec.OpMaskedEqual}
		}
		return []rspec.LinuxSyscall{
			rule(rspec.ActNotify, flag(unix.O_CREAT, unix.O_CREAT)),
			rule(rspec.ActNotify, flag(unnamed, unnamed)),
			rule(rspec.ActAllow, flag(unix.O_CREAT|unnamed, 0)),
		}
	}
	if option, ok := options[name]; ok {
		is := func(op rspec.LinuxSeccompOperator) rspec.LinuxSeccompArg {
			return rspec.LinuxSeccompArg{Value: option, Op: op}
		}
		return []rspec.LinuxSyscall{rule(rspec.ActNotify, is(rspec.OpEqualTo)), rule(rspec.ActAllow, is(rspec.OpNotEqual))}
	}
	if mode == Emulate || len(changing[name]) == 0 {
		return []rspec.LinuxSyscall{rule(rspec.ActNotify)}
	}
	var own []rspec.LinuxSeccompArg
	var rules []rspec.LinuxSyscall
	for _, place := range changing[name] {
		own = append(own, rspec.LinuxSeccompArg{Index: place, Value: 0, Op: rspec.OpEqualTo})
		rules = append(rules, rule(rspec.ActNotify, rspec.LinuxSeccompArg{Index: place, Value: 0, Op: rspec.OpGreaterThan}))
	}
	return append(rules, rule(rspec.ActAllow, own...))
}

func architectures() []rspec.Arch {
	switch runtime.GOARCH {
	case "amd64":
		return []rspec.Arch{rspec.ArchX86_64, rspec.ArchX86, rspec.ArchX32}
	case "arm64":
		return []rspec.Arch{rspec.ArchAARCH64, rspec.ArchARM}
	}
	return nil
}
