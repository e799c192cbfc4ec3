// Package seccomp compiles a seccomp profile of the runtime specification into the
// program that the kernel runs at each system call, in pure Go.
//
// It knows the architectures whose numbers are in this package (syscalls_*.txt):
// those of x86, ARM, RISC-V, POWER, System z and LoongArch. For others [Compile] gives
// ErrArchitecture.
package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrArchitecture says that no numbers of system calls are known here.
var ErrArchitecture = errors.New("builder knows no numbers of system calls for this architecture")

// maxInstructions is BPF_MAXINSNS.
const maxInstructions = 4096

// Compile makes the program for a profile. A call's first rule that fits decides;
// a call without one has the default action. Calls that aren't among the numbers
// known here have none, as with libseccomp.
func Compile(p *rspec.LinuxSeccomp) ([]unix.SockFilter, error) { return compileFor(runtime.GOARCH, p) }

func compileFor(goarch string, p *rspec.LinuxSeccomp) ([]unix.SockFilter, error) {
	fallback, err := actionOf(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	architectures, err := architecturesOf(p, goarch)
	if err != nil {
		return nil, err
	}
	var a assembler
	a.load(offsetArch)
	for _, arch := range architectures {
		table, err := arch.rules(p, fallback)
		if err != nil {
			return nil, err
		}
		next := a.newLabel()
		a.unlessEqual(arch.audit, next)
		arch.emit(&a, table, fallback)
		a.place(next)
	}
	a.ret(unix.SECCOMP_RET_KILL_THREAD) // an architecture that isn't allowed
	program, err := a.assemble()
	if err == nil && len(program) > maxInstructions {
		err = fmt.Errorf("the profile makes %d instructions, and the kernel takes %d", len(program), maxInstructions)
	}
	return program, err
}

// ruled is what a profile says of one system call.
type ruled struct {
	number uint32
	rules  []rule
}

// rule is an action, and the conditions under which it is taken.
type rule struct {
	action     uint32
	conditions []rspec.LinuxSeccompArg
}

// rules gives what the profile says of each call of an architecture, by number.
func (arch architecture) rules(p *rspec.LinuxSeccomp, fallback uint32) ([]ruled, error) {
	byNumber := map[uint32][]rule{}
	numbers := arch.numbers()
	for _, call := range p.Syscalls {
		action, err := actionOf(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, err
		}
		if action == fallback {
			continue
		}
		for _, name := range call.Names {
			number, known := numbers[name]
			if !known {
				continue
			}
			for _, conditions := range alternatives(call.Args) {
				byNumber[number] = append(byNumber[number], rule{action, conditions})
			}
		}
	}
	var table []ruled
	for number, rules := range byNumber {
		table = append(table, ruled{number, simplified(rules)})
	}
	slices.SortFunc(table, func(a, b ruled) int { return int(a.number) - int(b.number) })
	return table, nil
}

// simplified drops the conditions of rules that an unconditional one of the same
// action follows, and all rules after one without conditions.
func simplified(rules []rule) []rule {
	at := slices.IndexFunc(rules, func(r rule) bool { return len(r.conditions) == 0 })
	if at < 0 {
		return rules
	}
	rules = rules[:at+1]
	for len(rules) > 1 && rules[len(rules)-2].action == rules[len(rules)-1].action {
		rules = append(rules[:len(rules)-2], rules[len(rules)-1])
	}
	return rules
}

// alternatives parts the conditions of a rule, all of which must hold, unless several
// are of the same argument: then one suffices, as runc has it.
func alternatives(args []rspec.LinuxSeccompArg) [][]rspec.LinuxSeccompArg {
	seen := map[uint]bool{}
	twice := false
	for _, a := range args {
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	if !twice {
		return [][]rspec.LinuxSeccompArg{args}
	}
	var each [][]rspec.LinuxSeccompArg
	for _, a := range args {
		each = append(each, []rspec.LinuxSeccompArg{a})
	}
	return each
}

// actionOf gives the filter's return value.
func actionOf(action rspec.LinuxSeccompAction, errno *uint) (uint32, error) {
	number := uint32(unix.EPERM)
	if errno != nil {
		number = uint32(*errno)
	}
	switch action {
	case rspec.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case rspec.ActErrno:
		return unix.SECCOMP_RET_ERRNO | number&unix.SECCOMP_RET_DATA, nil
	case rspec.ActTrace:
		return unix.SECCOMP_RET_TRACE | number&unix.SECCOMP_RET_DATA, nil
	case rspec.ActKill, rspec.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case rspec.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case rspec.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case rspec.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case rspec.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	}
	return 0, fmt.Errorf("the seccomp profile's action %q can't be had", action)
}

// Load puts a program over the calling thread, and what comes from it. The descriptor,
// where one is wanted, is that by which others answer the calls for which the profile
// has SCMP_ACT_NOTIFY.
func Load(program []unix.SockFilter, flags []rspec.LinuxSeccompFlag, notify bool) (fd int, err error) {
	var bits uintptr
	if notify {
		bits = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	for _, f := range flags {
		bit, known := flagBits[f]
		if !known {
			return -1, fmt.Errorf("the seccomp profile's flag %q isn't known", f)
		}
		bits |= bit
	}
	return load(program, bits)
}

var flagBits = map[rspec.LinuxSeccompFlag]uintptr{
	rspec.LinuxSeccompFlagLog:              unix.SECCOMP_FILTER_FLAG_LOG,
	rspec.LinuxSeccompFlagSpecAllow:        unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	rspec.LinuxSeccompFlagWaitKillableRecv: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
	"SECCOMP_FILTER_FLAG_TSYNC":            unix.SECCOMP_FILTER_FLAG_TSYNC,
}
