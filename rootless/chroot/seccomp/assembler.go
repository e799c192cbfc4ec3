package seccomp

import (
	"errors"
	"fmt"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// assembler writes instructions of classic BPF whose jumps lead to labels. There are
// forward jumps only, and in conditional ones the distance has 8 bits.
type assembler struct {
	program []unix.SockFilter
	labels  []int // where each is placed
	jumps   []jump
	failed  error
	// bigEndian is the order of the architecture that is written for.
	bigEndian bool
}

type label int

// jump is an instruction whose distances aren't known yet.
type jump struct {
	at       int
	yes, no  label // noLabel: the next instruction
	absolute bool
}

const noLabel label = -1

func (a *assembler) newLabel() label {
	a.labels = append(a.labels, -1)
	return label(len(a.labels) - 1)
}

func (a *assembler) place(l label) { a.labels[l] = len(a.program) }

func (a *assembler) add(code uint16, k uint32) {
	a.program = append(a.program, unix.SockFilter{Code: code, K: k})
}

func (a *assembler) load(offset uint32) { a.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }

func (a *assembler) ret(value uint32) { a.add(unix.BPF_RET|unix.BPF_K, value) }

// compare jumps by a comparison of the accumulator.
func (a *assembler) compare(op uint16, k uint32, yes, no label) {
	a.jumps = append(a.jumps, jump{at: len(a.program), yes: yes, no: no})
	a.add(unix.BPF_JMP|op|unix.BPF_K, k)
}

// goTo is a jump of any distance.
func (a *assembler) goTo(to label) {
	a.jumps = append(a.jumps, jump{at: len(a.program), yes: to, no: noLabel, absolute: true})
	a.add(unix.BPF_JMP|unix.BPF_JA, 0)
}

// unlessEqual goes far where the accumulator isn't k.
func (a *assembler) unlessEqual(k uint32, far label) {
	near := a.newLabel()
	a.compare(unix.BPF_JEQ, k, near, noLabel)
	a.goTo(far)
	a.place(near)
}

func (a *assembler) unlessAtLeast(k uint32, near label) { a.compare(unix.BPF_JGE, k, noLabel, near) }
func (a *assembler) ifAtLeast(k uint32, near label)     { a.compare(unix.BPF_JGE, k, near, noLabel) }

// ifAbove goes far where the accumulator is greater than k.
func (a *assembler) ifAbove(k uint32, far label) {
	near := a.newLabel()
	a.compare(unix.BPF_JGT, k, noLabel, near)
	a.goTo(far)
	a.place(near)
}

// condition goes on where it holds, and to otherwise where it doesn't. Arguments have
// 64 bits, the accumulator 32.
func (a *assembler) condition(c rspec.LinuxSeccompArg, otherwise label) {
	if c.Index > 5 {
		a.failed = fmt.Errorf("the seccomp profile names an argument number %d", c.Index)
		return
	}
	low, high := offsetArgs+8*uint32(c.Index), offsetArgs+8*uint32(c.Index)+4
	if a.bigEndian {
		low, high = high, low
	}
	holds := a.newLabel()
	switch c.Op {
	case rspec.OpEqualTo:
		a.equal(high, low, c.Value, ^uint64(0), otherwise)
	case rspec.OpMaskedEqual:
		a.equal(high, low, c.ValueTwo, c.Value, otherwise)
	case rspec.OpNotEqual:
		a.load(high)
		a.compare(unix.BPF_JEQ, uint32(c.Value>>32), noLabel, holds)
		a.load(low)
		a.compare(unix.BPF_JEQ, uint32(c.Value), otherwise, noLabel)
	case rspec.OpGreaterThan:
		a.order(high, low, c.Value, unix.BPF_JGT, holds, otherwise)
	case rspec.OpGreaterEqual:
		a.order(high, low, c.Value, unix.BPF_JGE, holds, otherwise)
	case rspec.OpLessThan:
		a.order(high, low, c.Value, unix.BPF_JGE, otherwise, holds)
	case rspec.OpLessEqual:
		a.order(high, low, c.Value, unix.BPF_JGT, otherwise, holds)
	default:
		a.failed = fmt.Errorf("the seccomp profile's comparison %q isn't known", c.Op)
	}
	a.place(holds)
}

// equal goes on where the bits of mask are those of want.
func (a *assembler) equal(high, low uint32, want, mask uint64, otherwise label) {
	for _, half := range []struct {
		offset     uint32
		want, mask uint32
	}{{high, uint32(want >> 32), uint32(mask >> 32)}, {low, uint32(want), uint32(mask)}} {
		a.load(half.offset)
		if half.mask != ^uint32(0) {
			a.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, half.mask)
		}
		a.compare(unix.BPF_JEQ, half.want, noLabel, otherwise)
	}
}

// order goes to above where the argument is above value, or equal to it where op is
// BPF_JGE, and else to below.
func (a *assembler) order(high, low uint32, value uint64, op uint16, above, below label) {
	a.load(high)
	a.compare(unix.BPF_JGT, uint32(value>>32), above, noLabel)
	a.compare(unix.BPF_JEQ, uint32(value>>32), noLabel, below)
	a.load(low)
	a.compare(op, uint32(value), above, below)
}

// assemble puts the distances in.
func (a *assembler) assemble() ([]unix.SockFilter, error) {
	if a.failed != nil {
		return nil, a.failed
	}
	for _, j := range a.jumps {
		distance := func(l label) int {
			if l == noLabel {
				return 0
			}
			return a.labels[l] - j.at - 1
		}
		yes, no := distance(j.yes), distance(j.no)
		if j.absolute {
			a.program[j.at].K = uint32(yes)
			continue
		}
		if yes > 255 || no > 255 {
			return nil, errors.New("a rule of the seccomp profile has too many conditions")
		}
		a.program[j.at].Jt, a.program[j.at].Jf = uint8(yes), uint8(no)
	}
	return a.program, nil
}
