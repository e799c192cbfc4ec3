package seccomp

import (
	"encoding/binary"
	"errors"
	"testing"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// verdict runs a program over a call, as the kernel of such a machine does.
func verdict(t *testing.T, program []unix.SockFilter, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if audit == unix.AUDIT_ARCH_S390X {
		order = binary.BigEndian
	}
	data := make([]byte, 64)
	order.PutUint32(data[offsetNumber:], number)
	order.PutUint32(data[offsetArch:], audit)
	for i, a := range args {
		order.PutUint64(data[offsetArgs+8*i:], a)
	}
	var acc uint32
	for at := 0; at < len(program); at++ {
		in := program[at]
		holds := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = order.Uint32(data[in.K:])
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JA:
			at += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			holds = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			holds = acc > in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			holds = acc >= in.K
		default:
			t.Fatalf("instruction %#v", in)
		}
		if holds {
			at += int(in.Jt)
		} else {
			at += int(in.Jf)
		}
	}
	t.Fatal("the program doesn't end")
	return 0
}

func TestConditionsCompareAll64Bits(t *testing.T) {
	const big = 1<<32 | 5
	for _, tc := range []struct {
		op            rspec.LinuxSeccompOperator
		value, second uint64
		holds, not    []uint64
	}{
		{rspec.OpEqualTo, big, 0, []uint64{big}, []uint64{5, 1 << 32, big + 1}},
		{rspec.OpNotEqual, big, 0, []uint64{5, 1 << 32, big + 1}, []uint64{big}},
		{rspec.OpGreaterThan, big, 0, []uint64{big + 1, 2 << 32}, []uint64{big, 6, 0}},
		{rspec.OpGreaterEqual, big, 0, []uint64{big, 2 << 32}, []uint64{big - 1, 6}},
		{rspec.OpLessThan, big, 0, []uint64{big - 1, 6, 0}, []uint64{big, 2 << 32}},
		{rspec.OpLessEqual, big, 0, []uint64{big, 6}, []uint64{big + 1, 2 << 32}},
		{rspec.OpMaskedEqual, 0xf0, 0x30, []uint64{0x31, 0xf30 | 1<<40}, []uint64{0x41, 0}},
	} {
		profile := &rspec.LinuxSeccomp{DefaultAction: rspec.ActErrno, Syscalls: []rspec.LinuxSyscall{{
			Names: []string{"read"}, Action: rspec.ActAllow,
			Args: []rspec.LinuxSeccompArg{{Index: 1, Value: tc.value, ValueTwo: tc.second, Op: tc.op}},
		}}}
		for goarch, name := range native {
			program, err := compileFor(goarch, profile)
			if err != nil {
				t.Fatal(err)
			}
			read := known[name].numbers()["read"]
			for want, values := range map[uint32][]uint64{unix.SECCOMP_RET_ALLOW: tc.holds, denied: tc.not} {
				for _, v := range values {
					if got := verdict(t, program, known[name].audit, read, 0, v); got != want {
						t.Errorf("on %s, %s %#x: %#x gives %#x, want %#x", goarch, tc.op, tc.value, v, got, want)
					}
				}
			}
		}
	}
}

const denied = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// TestArchitecturesHaveNumbersOfTheirOwn knows some of each by heart, from the
// kernel's tables.
func TestArchitecturesHaveNumbersOfTheirOwn(t *testing.T) {
	for name, want := range map[rspec.Arch]map[string]uint32{
		rspec.ArchX86_64: {"read": 0, "openat": 257}, rspec.ArchX86: {"read": 3, "openat": 295},
		rspec.ArchAARCH64: {"read": 63, "openat": 56}, rspec.ArchARM: {"read": 3, "openat": 322},
		rspec.ArchRISCV64: {"read": 63, "openat": 56, "riscv_flush_icache": 259}, rspec.ArchLOONGARCH64: {"read": 63, "openat": 56},
		rspec.ArchPPC64LE: {"read": 3, "openat": 286}, rspec.ArchS390X: {"read": 3, "openat": 288, "setuid": 213},
	} {
		numbers := known[name].numbers()
		for call, n := range want {
			if numbers[call] != n {
				t.Errorf("%s: %s is %d, not %d", name, call, numbers[call], n)
			}
		}
		if numbers["clone3"] != 435 {
			t.Errorf("%s: clone3 is %d", name, numbers["clone3"])
		}
	}
}

func TestUnknownArchitecturesAreRefused(t *testing.T) {
	if _, err := compileFor("mips64le", &rspec.LinuxSeccomp{DefaultAction: rspec.ActErrno}); !errors.Is(err, ErrArchitecture) {
		t.Errorf("for one without numbers: %v", err)
	}
	p := &rspec.LinuxSeccomp{DefaultAction: rspec.ActErrno, Architectures: []rspec.Arch{rspec.ArchS390X, rspec.ArchS390, rspec.ArchPPC}}
	if _, err := compileFor("s390x", p); !errors.Is(err, ErrArchitecture) {
		t.Errorf("a profile with one without numbers: %v", err)
	}
	p.Architectures = p.Architectures[:2]
	program, err := compileFor("s390x", p)
	if err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, program, unix.AUDIT_ARCH_S390, 3); got != unix.SECCOMP_RET_KILL_THREAD {
		t.Errorf("a program of s390 gets %#x", got)
	}
}

func TestRangesNeighboursAndOtherArchitectures(t *testing.T) {
	profile := &rspec.LinuxSeccomp{
		DefaultAction: rspec.ActErrno, Architectures: []rspec.Arch{rspec.ArchX86_64, rspec.ArchX86, rspec.ArchX32},
		Syscalls: []rspec.LinuxSyscall{
			{Names: []string{"read", "write", "open", "stat", "no_such_call"}, Action: rspec.ActAllow},
			{Names: []string{"clone3"}, Action: rspec.ActErrno, ErrnoRet: new(uint)},
			{Names: []string{"ptrace"}, Action: rspec.ActKillProcess},
		},
	}
	program, err := compileFor("amd64", profile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		audit, number, want uint32
	}{
		{unix.AUDIT_ARCH_X86_64, 0, unix.SECCOMP_RET_ALLOW},
		{unix.AUDIT_ARCH_X86_64, 2, unix.SECCOMP_RET_ALLOW},
		{unix.AUDIT_ARCH_X86_64, 3, denied}, // close
		{unix.AUDIT_ARCH_X86_64, 4, unix.SECCOMP_RET_ALLOW},
		{unix.AUDIT_ARCH_X86_64, 5, denied},
		{unix.AUDIT_ARCH_X86_64, 101, unix.SECCOMP_RET_KILL_PROCESS},
		{unix.AUDIT_ARCH_X86_64, 435, unix.SECCOMP_RET_ERRNO},
		{unix.AUDIT_ARCH_X86_64, 9999, denied},
		{unix.AUDIT_ARCH_X86_64, x32Bit, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{unix.AUDIT_ARCH_I386, 0, denied}, // restart_syscall
		{unix.AUDIT_ARCH_I386, 5, unix.SECCOMP_RET_ALLOW},
		{unix.AUDIT_ARCH_AARCH64, 63, unix.SECCOMP_RET_KILL_THREAD},
	} {
		if got := verdict(t, program, tc.audit, tc.number); got != tc.want {
			t.Errorf("architecture %#x, call %d: %#x, want %#x", tc.audit, tc.number, got, tc.want)
		}
	}
}
