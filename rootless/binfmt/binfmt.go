// Package binfmt asks the kernel whether it runs programs of other
// architectures, which it does where an emulator is registered with its
// binfmt_misc, and registers those that are installed.
//
// Since Linux 6.7 a user namespace can have a binfmt_misc of its own. So who is
// root there needs no root outside for it; nothing of it is seen elsewhere, and
// it goes with the namespace.
package binfmt

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// headerLen is that of a 64-bit ELF header, the longer kind.
const headerLen = 64

// A Header is the beginning of a program, which tells what it is for.
type Header [headerLen]byte

// machine is as much of a header as emulators are chosen by.
func (h Header) machine() [20]byte { return [20]byte(h[:20]) }

// IsELF tells whether it is one.
func (h Header) IsELF() bool { return string(h[:4]) == elf.ELFMAG }

// Architecture is what the program is for, by its usual name.
func (h Header) Architecture() string {
	order := elf.Data(h[elf.EI_DATA])
	m := elf.Machine(uint16(h[18]) | uint16(h[19])<<8)
	if order == elf.ELFDATA2MSB {
		m = elf.Machine(uint16(h[19]) | uint16(h[18])<<8)
	}
	for name, a := range architectures {
		if a.machine == m && a.order == order && (a.class == 0 || a.class == elf.Class(h[elf.EI_CLASS])) {
			return name
		}
	}
	return m.String()
}

// architectures are those that Linux images are made for. A class of 0 is any.
var architectures = map[string]struct {
	machine elf.Machine
	order   elf.Data
	class   elf.Class
}{
	"386":      {elf.EM_386, elf.ELFDATA2LSB, 0},
	"amd64":    {elf.EM_X86_64, elf.ELFDATA2LSB, 0},
	"arm":      {elf.EM_ARM, elf.ELFDATA2LSB, 0},
	"arm64":    {elf.EM_AARCH64, elf.ELFDATA2LSB, 0},
	"loong64":  {elf.EM_LOONGARCH, elf.ELFDATA2LSB, 0},
	"mips":     {elf.EM_MIPS, elf.ELFDATA2MSB, elf.ELFCLASS32},
	"mipsle":   {elf.EM_MIPS, elf.ELFDATA2LSB, elf.ELFCLASS32},
	"mips64":   {elf.EM_MIPS, elf.ELFDATA2MSB, elf.ELFCLASS64},
	"mips64le": {elf.EM_MIPS, elf.ELFDATA2LSB, elf.ELFCLASS64},
	"ppc64":    {elf.EM_PPC64, elf.ELFDATA2MSB, 0},
	"ppc64le":  {elf.EM_PPC64, elf.ELFDATA2LSB, 0},
	"riscv64":  {elf.EM_RISCV, elf.ELFDATA2LSB, elf.ELFCLASS64},
	"s390x":    {elf.EM_S390, elf.ELFDATA2MSB, 0},
}

// own are the architectures that this machine's kernel runs by itself. Whether
// it really does the 32-bit ones shows when they are run.
var own = map[string][]string{
	"amd64": {"amd64", "386"}, "arm64": {"arm64", "arm"},
}

// Native tells whether programs of an architecture need no emulator here.
func Native(arch string) bool {
	if arch == runtime.GOARCH {
		return true
	}
	for _, a := range own[runtime.GOARCH] {
		if a == arch {
			return true
		}
	}
	return false
}

// An Answer is what the kernel says of programs for an architecture.
type Answer int

const (
	// Unknown programs it can't execute.
	Unknown Answer = iota
	// Hidden are those that it executes by an emulator which it looks for when
	// the program is started, in that program's root file system.
	Hidden
	// Runs says that it executes them, wherever they are.
	Runs
)

// answers are what the kernel has said so far, and whether it has refused to
// let emulators be registered here.
var answers = struct {
	sync.Mutex
	to      map[[20]byte]Answer
	refused bool
}{to: map[[20]byte]Answer{}}

// Ask asks the kernel whether it runs programs with such a header. Where it
// doesn't, the emulators that are installed are registered first. dir is for
// temporary files; "" is the system's directory for them.
func Ask(h Header, dir string) Answer {
	answers.Lock()
	defer answers.Unlock()
	answer, known := answers.to[h.machine()]
	if !known {
		if answer = ask(h, dir); answer != Runs && register() == nil {
			answer = ask(h, dir)
		}
		answers.to[h.machine()] = answer
	}
	return answer
}

// ask lets the kernel execute the bare header, here and in an empty root file
// system. It has no program in it, so that an emulator ends at once.
func ask(h Header, dir string) Answer {
	if errors.Is(patiently(func() error { return executeHere(h) }), unix.ENOEXEC) {
		return Unknown
	}
	if errors.Is(patiently(func() error { return executeAlone(h, dir) }), unix.ENOENT) {
		return Hidden
	}
	return Runs
}

// patiently tries again where a process that is just being started still has a
// descriptor that the program was written by.
func patiently(execute func() error) error {
	err := execute()
	for i := 0; i < busyTries && errors.Is(err, unix.ETXTBSY); i++ {
		time.Sleep(busyPause)
		err = execute()
	}
	return err
}

const (
	busyTries = 20
	busyPause = 5 * time.Millisecond
)

func executeHere(h Header) error {
	program, err := file(h)
	if err != nil {
		return err
	}
	defer program.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{program}
	return execute(cmd)
}

func executeAlone(h Header, dir string) error {
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }()
	if err := os.WriteFile(filepath.Join(root, "program"), h.bare(), 0o700); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // which isn't there inside
	if err != nil {
		return err
	}
	defer null.Close()
	cmd := exec.Command("/program")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: root}
	return execute(cmd)
}

func execute(cmd *exec.Cmd) error {
	cmd.Env, cmd.Dir = []string{}, "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // how it ended doesn't matter
	return nil
}

// bare gives the header alone, saying that no segments follow.
func (h Header) bare() []byte {
	segments := 56
	if elf.Class(h[elf.EI_CLASS]) == elf.ELFCLASS32 {
		segments = 44
	}
	h[segments], h[segments+1] = 0, 0
	return h[:]
}

// file gives an unnamed file of the bare header.
func file(h Header) (*os.File, error) {
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all of them can be executed
		fd, err = unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	w := os.NewFile(uintptr(fd), "/proc/self/fd/program")
	defer w.Close()
	if _, err := w.Write(h.bare()); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// Architectures gives the names of those that Linux images are made for, in order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// HeaderOf gives the header of a program for an architecture of Architectures.
func HeaderOf(arch string) (h Header) {
	a := architectures[arch]
	class := a.class
	if class == 0 {
		class = elf.ELFCLASS64
		switch arch {
		case "386", "arm":
			class = elf.ELFCLASS32
		}
	}
	copy(h[:], elf.ELFMAG)
	h[elf.EI_CLASS], h[elf.EI_DATA], h[elf.EI_VERSION] = byte(class), byte(a.order), byte(elf.EV_CURRENT)
	var order binary.ByteOrder = binary.LittleEndian
	if a.order == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	order.PutUint16(h[16:], uint16(elf.ET_EXEC))
	order.PutUint16(h[18:], uint16(a.machine))
	order.PutUint32(h[20:], uint32(elf.EV_CURRENT))
	return h
}
