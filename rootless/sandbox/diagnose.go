package sandbox

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/binfmt"
)

// A runtime that fails to exec at the very last moment, when it has already
// become the program, can only end with code 1 and a word on stderr. diagnose
// looks afterwards whether that must have been so.

// diagnose tells why the kernel can't execute the command of s; nil where it
// can, as far as can be seen.
func diagnose(s Spec) *failure {
	if h, name := programHeader(s); h.IsELF() && !binfmt.Native(h.Architecture()) {
		return invisible(s, h, name)
	}
	name := findCommand(s)
	if name == "" {
		return nil
	}
	f, err := openInRoot(s.RootFS, name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 512)
	n, _ := io.ReadFull(f, start) // a shorter file is one as well
	start = start[:n]
	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		return missingInterpreter(s, scriptInterpreter(start))
	case bytes.HasPrefix(start, []byte(elf.ELFMAG)):
		return diagnoseELF(s, f)
	case hasBinfmt():
		return nil
	}
	return &failure{code: codeNotExecutable, message: "it is neither a binary nor a script that begins with #!"}
}

func diagnoseELF(s Spec, r io.ReaderAt) *failure {
	e, err := elf.NewFile(r)
	if err != nil {
		return &failure{code: codeNotExecutable, message: "its ELF header is damaged: " + err.Error()}
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			loader, _ := io.ReadAll(p.Open())
			return missingInterpreter(s, string(bytes.TrimRight(loader, "\x00")))
		}
	}
	return nil
}

func scriptInterpreter(start []byte) string {
	line, _ := bufio.NewReader(bytes.NewReader(start[2:])).ReadString('\n')
	if fields := strings.Fields(line); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// missingInterpreter complains of a script's interpreter or a program's loader
// that isn't there.
func missingInterpreter(s Spec, name string) *failure {
	if name == "" {
		return nil
	}
	f, err := openInRoot(s.RootFS, path.Join(s.Cwd, name))
	if path.IsAbs(name) {
		f, err = openInRoot(s.RootFS, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{code: codeNotFound, message: fmt.Sprintf("it needs %s, which isn't there", name)}
	}
	if err == nil {
		_ = f.Close()
	}
	return nil
}

// findCommand gives the path of the command in the root file system, "" where
// it isn't found.
func findCommand(s Spec) string {
	command := s.Args[0]
	if strings.Contains(command, "/") {
		if !path.IsAbs(command) {
			command = path.Join("/", s.Cwd, command)
		}
		return command
	}
	for _, variable := range s.Env {
		list, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			if f, err := openInRoot(s.RootFS, path.Join(dir, command)); err == nil {
				_ = f.Close()
				return path.Join(dir, command)
			}
		}
	}
	return ""
}

// openInRoot opens a regular file with links followed inside the root only. The
// kernel does it at once; the library, which takes five times as long, is for
// kernels and seccomp profiles that don't have the call.
func openInRoot(root, name string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openByLibrary(root, name)
	}
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
	handle := os.NewFile(uintptr(fd), name)
	defer func() { _ = handle.Close() }()
	if info, err := handle.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func openByLibrary(root, name string) (*os.File, error) {
	handle, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = handle.Close() }()
	if info, err := handle.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	return pathrs.Reopen(handle, os.O_RDONLY)
}

// hasBinfmt tells whether the kernel may know other formats: those that a
// distribution's qemu-user packages register.
func hasBinfmt() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return err == nil && len(entries) > 2 // beside "register" and "status"
}
