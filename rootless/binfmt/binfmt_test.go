package binfmt

import (
	"debug/elf"
	"io"
	"os"
	"runtime"
	"testing"
)

// header is that of a program for a machine that nobody emulates.
func header(machine elf.Machine) Header {
	var h Header
	copy(h[:], elf.ELFMAG)
	h[elf.EI_CLASS], h[elf.EI_DATA], h[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	h[16], h[18], h[19] = byte(elf.ET_EXEC), byte(machine), byte(machine>>8)
	return h
}

func TestTheKernelKnowsNoSuchMachine(t *testing.T) {
	h := header(elf.EM_ST100)
	if !h.IsELF() || h.Architecture() != "EM_ST100" || Native(h.Architecture()) {
		t.Errorf("%q", h.Architecture())
	}
	if answer := Ask(h, t.TempDir()); answer != Unknown {
		t.Errorf("the kernel runs what nobody can run: %d", answer)
	}
}

func TestThisProgramIsForThisMachine(t *testing.T) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	var h Header
	if _, err := io.ReadFull(self, h[:]); err != nil {
		t.Fatal(err)
	}
	if h.Architecture() != runtime.GOARCH || !Native(h.Architecture()) {
		t.Errorf("this program is for %q, this machine is %s", h.Architecture(), runtime.GOARCH)
	}
}

func TestHeadersAreOfTheirArchitecture(t *testing.T) {
	for _, arch := range Architectures() {
		h := HeaderOf(arch)
		if !h.IsELF() || h.Architecture() != arch {
			t.Errorf("the header for %s is one for %s", arch, h.Architecture())
		}
	}
}
