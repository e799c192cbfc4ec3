package seccomp

import (
	"encoding/binary"
	"testing"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// verdict runs a program over a call, as the kernel does.
func verdict(t *testing.T, program []unix.SockFilter, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.LittleEndian.PutUint32(data[offsetNumber:], number)
	binary.LittleEndian.PutUint32(data[offsetArch:], audit)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[offsetArgs+8*i:], a)
	}
	var acc uint32
	for at := 0; at < len(program); at++ {
		in := program[at]
		holds := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[in.K:])
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
		program, err := Compile(&rspec.LinuxSeccomp{DefaultAction: rspec.ActErrno, Syscalls: []rspec.LinuxSyscall{{
			Names: []string{"read"}, Action: rspec.ActAllow,
			Args: []rspec.LinuxSeccompArg{{Index: 1, Value: tc.value, ValueTwo: tc.second, Op: tc.op}},
		}}})
		if err != nil {
			t.Skip(err) // another architecture
		}
		own, _ := architecturesOf(&rspec.LinuxSeccomp{})
		read := own[0].numbers()["read"]
		for want, values := range map[uint32][]uint64{unix.SECCOMP_RET_ALLOW: tc.holds, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM): tc.not} {
			for _, v := range values {
				if got := verdict(t, program, own[0].audit, read, 0, v); got != want {
					t.Errorf("%s %#x: %#x gives %#x, want %#x", tc.op, tc.value, v, got, want)
				}
			}
		}
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
	program, err := Compile(profile)
	if err != nil || known[rspec.ArchX86_64].audit == 0 {
		t.Skip(err)
	}
	const denied = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
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
