package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/binfmt"
	"github.com/builder-oci/builder/rootless/doctor"
)

// foreign tells why the kernel can't execute the command of s, where that is a
// program for another architecture. It is asked before anything is started.
func foreign(s Spec) *failure {
	h, name := programHeader(s)
	if !h.IsELF() {
		return nil
	}
	arch := h.Architecture()
	if binfmt.Native(arch) || ask(s, h) != binfmt.Unknown {
		return nil
	}
	lack := doctor.Emulator(arch, binfmt.Registers())
	return &failure{
		code:    codeNotExecutable,
		message: fmt.Sprintf("%s is a program for %s: %v", name, arch, lack),
		remedy: fault.Remedy(lack) +
			"\nor compile here for it: FROM --platform=$BUILDPLATFORM with ARG TARGETARCH, and COPY --from that stage",
	}
}

// ask asks the kernel, with a file of the sandbox's own.
func ask(s Spec, h binfmt.Header) binfmt.Answer {
	if s.StateDir != "" && os.MkdirAll(s.StateDir, 0o700) != nil {
		return binfmt.Runs // whatever is wrong, the run itself will tell
	}
	return binfmt.Ask(h, s.StateDir)
}

// invisible tells of a foreign command that is there, but not the emulator for
// it: the kernel looks for one in the root file system unless it was registered
// with the flag F.
func invisible(s Spec, h binfmt.Header, name string) *failure {
	arch := h.Architecture()
	if ask(s, h) != binfmt.Hidden || hasEmulator(s, arch) {
		return nil
	}
	return &failure{
		code: codeNotExecutable,
		message: fmt.Sprintf("%s is a program for %s, and the kernel's handler for such programs leads to an emulator that isn't there in the container",
			name, arch),
		remedy: "register it with the flag F, by which the kernel opens it beforehand, as Debian's package does:\n" +
			"sudo apt-get install --reinstall qemu-user-static binfmt-support    # newer than Debian 12: qemu-user-binfmt",
	}
}

// hasEmulator tells whether an image brings one along, as images had to before
// there was the flag F.
func hasEmulator(s Spec, arch string) bool {
	name := arch
	if other, known := qemuNames[arch]; known {
		name = other
	}
	for _, path := range []string{"/usr/bin/qemu-" + name + "-static", "/usr/bin/qemu-" + name, "/usr/libexec/qemu-binfmt/" + name + "-binfmt-P"} {
		if f, err := openInRoot(s.RootFS, path); err == nil {
			_ = f.Close()
			return true
		}
	}
	return false
}

// qemuNames are the architectures that qemu calls by other names.
var qemuNames = map[string]string{
	"386": "i386", "amd64": "x86_64", "arm64": "aarch64", "loong64": "loongarch64", "mips64le": "mips64el", "mipsle": "mipsel",
}

// programHeader gives the beginning of what the kernel has to execute for the
// command of s, and its name: a script's interpreter. It is empty where that
// can't be found.
func programHeader(s Spec) (h binfmt.Header, name string) {
	name = findCommand(s)
	start := readStart(s, name)
	if bytes.HasPrefix(start, []byte("#!")) {
		if name = scriptInterpreter(start); name != "" {
			start = readStart(s, path.Join("/", s.Cwd, name))
			if path.IsAbs(name) {
				start = readStart(s, name)
			}
		}
	}
	copy(h[:], start)
	return h, name
}

// readStart reads the beginning of a file as the sandbox will see it; of what a
// mount may cover it gives nothing.
func readStart(s Spec, name string) []byte {
	if name == "" {
		return nil
	}
	open := func() (*os.File, error) { return openInRoot(s.RootFS, name) }
	for _, m := range s.Mounts {
		if m.Destination == name && m.isBind() {
			open = func() (*os.File, error) { return os.Open(m.Source) } // builder's own, or the user's
		} else if covers(m, name) {
			return nil
		}
	}
	f, err := open()
	if err != nil {
		return nil
	}
	defer f.Close()
	if len(s.Mounts) > 0 { // links may lead to one
		found, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		for _, m := range s.Mounts {
			if inside, ok := strings.CutPrefix(found, s.RootFS); ok && covers(m, inside) {
				return nil
			}
		}
	}
	start := make([]byte, 512)
	n, _ := io.ReadFull(f, start) // a shorter file is one as well
	return start[:n]
}

// covers tells whether a mount lies over a name or a directory above it.
func covers(m Mount, name string) bool {
	return name == m.Destination || strings.HasPrefix(name, strings.TrimSuffix(m.Destination, "/")+"/")
}
