package seccomp

import (
	_ "embed" // the tables
	"fmt"
	"strconv"
	"strings"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// architecture is a set of system calls that programs of this machine can use.
type architecture struct {
	name  rspec.Arch
	audit uint32 // AUDIT_ARCH_*
	table string // lines of names and numbers
	// x32 tells that the numbers of another ABI come with this architecture.
	x32 bool
	// bigEndian has the upper half of an argument before the lower one.
	bigEndian bool
}

// The tables are made of golang.org/x/sys/unix by mktables.sh.
var (
	//go:embed syscalls_amd64.txt
	tableAMD64 string
	//go:embed syscalls_386.txt
	table386 string
	//go:embed syscalls_arm64.txt
	tableARM64 string
	//go:embed syscalls_arm.txt
	tableARM string
	//go:embed syscalls_riscv64.txt
	tableRISCV64 string
	//go:embed syscalls_ppc64le.txt
	tablePPC64LE string
	//go:embed syscalls_s390x.txt
	tableS390X string
	//go:embed syscalls_loong64.txt
	tableLOONG64 string
)

// known are the architectures with tables.
var known = map[rspec.Arch]architecture{
	rspec.ArchX86_64:      {name: rspec.ArchX86_64, audit: unix.AUDIT_ARCH_X86_64, table: tableAMD64, x32: true},
	rspec.ArchX86:         {name: rspec.ArchX86, audit: unix.AUDIT_ARCH_I386, table: table386},
	rspec.ArchAARCH64:     {name: rspec.ArchAARCH64, audit: unix.AUDIT_ARCH_AARCH64, table: tableARM64},
	rspec.ArchARM:         {name: rspec.ArchARM, audit: unix.AUDIT_ARCH_ARM, table: tableARM},
	rspec.ArchRISCV64:     {name: rspec.ArchRISCV64, audit: unix.AUDIT_ARCH_RISCV64, table: tableRISCV64},
	rspec.ArchPPC64LE:     {name: rspec.ArchPPC64LE, audit: unix.AUDIT_ARCH_PPC64LE, table: tablePPC64LE},
	rspec.ArchS390X:       {name: rspec.ArchS390X, audit: unix.AUDIT_ARCH_S390X, table: tableS390X, bigEndian: true},
	rspec.ArchLOONGARCH64: {name: rspec.ArchLOONGARCH64, audit: unix.AUDIT_ARCH_LOONGARCH64, table: tableLOONG64},
}

var native = map[string]rspec.Arch{
	"amd64": rspec.ArchX86_64, "386": rspec.ArchX86, "arm64": rspec.ArchAARCH64, "arm": rspec.ArchARM,
	"riscv64": rspec.ArchRISCV64, "ppc64le": rspec.ArchPPC64LE, "s390x": rspec.ArchS390X, "loong64": rspec.ArchLOONGARCH64,
}

// architecturesOf gives those of a profile, that of goarch first. Of x32, which shares
// x86-64's name in the kernel, no call is let through, and no program of s390, which
// has 31 bits and no numbers here.
func architecturesOf(p *rspec.LinuxSeccomp, goarch string) ([]architecture, error) {
	own, ok := known[native[goarch]]
	if !ok {
		return nil, fmt.Errorf("%w (%s)", ErrArchitecture, goarch)
	}
	all := []architecture{own}
	for _, name := range p.Architectures {
		switch arch, ok := known[name]; {
		case name == own.name || name == rspec.ArchX32 || name == rspec.ArchS390:
		case !ok:
			return nil, fmt.Errorf("%w (%s)", ErrArchitecture, name)
		default:
			all = append(all, arch)
		}
	}
	return all, nil
}

// numbers reads the table.
func (arch architecture) numbers() map[string]uint32 {
	numbers := map[string]uint32{}
	for line := range strings.Lines(arch.table) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			numbers[name] = uint32(n)
		}
	}
	return numbers
}

// Offsets in struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// x32Bit is set in the numbers of the x32 ABI.
const x32Bit = 0x40000000

// emit writes the decision for each call, which are sorted by number. Neighbours with
// the same action become one range.
func (arch architecture) emit(a *assembler, table []ruled, fallback uint32) {
	a.bigEndian = arch.bigEndian
	a.load(offsetNumber)
	if arch.x32 {
		next := a.newLabel()
		a.unlessAtLeast(x32Bit, next)
		a.ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
		a.place(next)
	}
	for i := 0; i < len(table); {
		end := i + 1
		for end < len(table) && continues(table[end-1], table[end]) {
			end++
		}
		first, last := table[i].number, table[end-1].number
		// What lies below the range has no rule: all lower ones are behind.
		inside, next := a.newLabel(), a.newLabel()
		a.ifAtLeast(first, inside)
		a.ret(fallback)
		a.place(inside)
		a.ifAbove(last, next)
		for _, r := range table[i].rules {
			otherwise := a.newLabel()
			for _, c := range r.conditions {
				a.condition(c, otherwise)
			}
			a.ret(r.action)
			a.place(otherwise)
		}
		if rules := table[i].rules; len(rules[len(rules)-1].conditions) > 0 {
			a.ret(fallback)
		}
		a.place(next)
		i = end
	}
	a.ret(fallback)
}

// continues tells whether a call follows another and has the same action, in any
// case.
func continues(a, b ruled) bool {
	return b.number == a.number+1 && len(a.rules) == 1 && len(b.rules) == 1 &&
		len(a.rules[0].conditions) == 0 && len(b.rules[0].conditions) == 0 && a.rules[0].action == b.rules[0].action
}
