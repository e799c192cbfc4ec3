package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// Runtime is an OCI runtime that is installed.
type Runtime struct {
	Name    string // "crun" or "runc"
	Path    string
	Version string // empty until asked for with WithVersion
}

// FindRuntime looks for the runtime of that name or path, or, where prefer is
// empty, for crun and then runc. It starts nothing.
func FindRuntime(prefer string) (Runtime, error) {
	names := []string{"crun", "runc"}
	if prefer != "" {
		names = []string{prefer}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return Runtime{Name: kind(path), Path: path}, nil
			}
		}
	}
	if prefer != "" {
		install := "crun"
		if prefer == "runc" {
			install = prefer
		}
		return Runtime{}, fault.Machine(doctor.Install(install)+"\nor name another by --runtime, BUILDER_RUNTIME or the configuration's runtime",
			"the runtime %q isn't installed", prefer)
	}
	return Runtime{}, fault.Machine(doctor.Install("crun"), "no OCI runtime is installed (crun or runc)")
}

// WithVersion asks the runtime for its version. crun (1.21) wants a directory for
// its state even then, and fails where XDG_RUNTIME_DIR isn't set; any will do.
func (r Runtime) WithVersion() (Runtime, error) {
	out, err := exec.Command(r.Path, "--root", "/", "--version").Output()
	if err != nil {
		return r, fault.New("install "+r.Name+" again, or choose another by --runtime", "%s --version: %w", r.Path, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	fields := strings.Fields(first)
	if len(fields) > 0 {
		r.Version = fields[len(fields)-1]
	}
	return r, nil
}

// isOwn tells whether it is the runtime that builder has in itself.
func (r Runtime) isOwn() bool { return r.Name == ownRuntime }

// movesItself tells whether the runtime moves the program to another cgroup than the
// one that itself was started in.
func (r Runtime) movesItself() bool { return r.Name == "runc" }

// waitsAsCrun tells whether a created program waits at a pipe as crun's do.
func (r Runtime) waitsAsCrun() bool { return r.Name == "crun" || r.isOwn() }

// Identity tells one build of a runtime from another, without starting it.
func (r Runtime) Identity() string {
	st, err := os.Stat(r.Path)
	if err != nil {
		return r.Path
	}
	return r.Path + " " + st.ModTime().UTC().String()
}

// kind tells which runtime's ways a program has; an unknown one is taken to be
// like runc, the reference.
func kind(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if strings.HasPrefix(filepath.Base(path), "crun") {
		return "crun"
	}
	return "runc"
}
