package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/moby/profiles/seccomp"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
)

// filters gives sandboxes docker's seccomp profile. crun takes half of its
// time to compile it, so its result is taken from it once for each profile and
// build of crun, and passed ready-made from then on.
type filters struct {
	runtime Runtime
	dir     string // where the compiled ones are kept; empty: nothing is passed ready-made

	mu    sync.Mutex
	known map[string]*filter // by capability set
	stock bool               // crun doesn't take ready-made filters
}

// filter is docker's profile for one capability set, and what crun has made of
// it in base64, which may be empty.
type filter struct {
	profile *rspec.LinuxSeccomp
	ready   string
}

// readyAnnotation is how crun takes a filter; it then disregards the profile.
const readyAnnotation = "run.oci.seccomp_bpf_data"

// closed is the profile that goes with a ready-made filter: should crun
// disregard the annotation, nothing can run.
var closed = &rspec.LinuxSeccomp{DefaultAction: rspec.ActErrno}

func newFilters(rt Runtime, dir string) *filters {
	return &filters{runtime: rt, dir: dir, known: map[string]*filter{}, stock: rt.Name != "crun" || dir == ""}
}

// apply puts the profile of s into spec, which must have its capabilities, and
// tells whether it went ready-made. Only docker's does: a user's own may have
// flags and listeners, which the annotation loses.
func (f *filters) apply(spec *rspec.Spec, s Spec) (ready bool, err error) {
	switch {
	case s.Security.Seccomp != "":
		spec.Linux.Seccomp, err = s.Security.profile(spec)
		return false, err
	case s.Security.NoSeccomp || s.Insecure:
		return false, nil
	}
	return f.applyDefault(spec, s.StateDir)
}

func (f *filters) applyDefault(spec *rspec.Spec, stateDir string) (ready bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	caps := strings.Join(spec.Process.Capabilities.Bounding, " ")
	known := f.known[caps]
	if known == nil {
		profile, err := seccomp.GetDefaultProfile(spec)
		if err != nil {
			return false, fmt.Errorf("seccomp profile: %w", err)
		}
		known = &filter{profile: profile}
		if !f.stock {
			known.ready = f.load(profile, stateDir)
		}
		f.known[caps] = known
	}
	if f.stock || known.ready == "" {
		spec.Linux.Seccomp = known.profile
		return false, nil
	}
	spec.Linux.Seccomp = closed
	spec.Annotations = map[string]string{readyAnnotation: known.ready}
	return true, nil
}

// profile is what apply puts into spec, before anybody has compiled it; nil where
// nothing is forbidden.
func (f *filters) profile(spec *rspec.Spec, s Spec) (*rspec.LinuxSeccomp, error) {
	switch {
	case s.Security.Seccomp != "":
		return s.Security.profile(spec)
	case s.Security.NoSeccomp || s.Insecure:
		return nil, nil
	}
	return seccomp.GetDefaultProfile(spec)
}

// refuse ends the use of ready-made filters.
func (f *filters) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stock = true
}

// load gets the filter from the cache, else from crun, else gives "": the
// filter only saves time, so what is wrong with it is no error.
func (f *filters) load(profile *rspec.LinuxSeccomp, stateDir string) string {
	text, err := json.Marshal(profile)
	if err != nil {
		return ""
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", f.runtime.Identity(), runtime.GOARCH, text))
	path := filepath.Join(f.dir, "seccomp-"+hex.EncodeToString(key[:16])+".bpf")
	data, err := readFilter(path)
	if err != nil {
		if data, err = f.harvest(profile, stateDir); err != nil {
			return ""
		}
		if os.MkdirAll(f.dir, 0o700) == nil {
			_ = writeFilter(path, data)
		}
	}
	return base64.StdEncoding.EncodeToString(data)
}

// A cached filter is preceded by a line with its SHA-256: a short or altered
// one would be a hole in the sandbox, or none that anything runs in.

func writeFilter(path string, filter []byte) error {
	sum := sha256.Sum256(filter)
	return atomicfile.WriteUnsynced(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), filter...), 0o600)
}

func readFilter(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	want, filter, _ := bytes.Cut(data, []byte{'\n'})
	if sum := sha256.Sum256(filter); hex.EncodeToString(sum[:]) != string(want) {
		return nil, errors.New("the digest doesn't match")
	}
	return filter, checkFilter(filter)
}

// checkFilter tells whether it can be a filter: whole instructions, as many as
// the kernel takes.
func checkFilter(filter []byte) error {
	const instruction, limit = 8, 4096
	if n := len(filter); n == 0 || n%instruction != 0 || n/instruction > limit {
		return fmt.Errorf("%d bytes aren't a filter", n)
	}
	return nil
}

// harvest lets crun compile a profile, and proves that crun takes the result
// by the annotation and adds nothing to it. That takes some 40 ms, and isn't
// interrupted, or a container would stay.
func (f *filters) harvest(profile *rspec.LinuxSeccomp, stateDir string) ([]byte, error) {
	data, err := f.compile(profile, "", stateDir)
	if err != nil {
		return nil, err
	}
	taken, err := f.compile(closed, base64.StdEncoding.EncodeToString(data), stateDir)
	if err == nil && !bytes.Equal(taken, data) {
		err = errors.New("crun takes no ready-made filter")
	}
	return data, err
}

// compile lets crun create a container, which leaves the filter in its state
// directory, and removes it without having started it.
func (f *filters) compile(profile *rspec.LinuxSeccomp, ready, stateDir string) ([]byte, error) {
	dir, err := os.MkdirTemp(stateDir, "seccomp-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := writeCompileBundle(dir, profile, ready); err != nil {
		return nil, err
	}
	crun := func(args ...string) error {
		global := []string{"--root", filepath.Join(dir, "state"), "--cgroup-manager", "disabled"}
		cmd := exec.Command(f.runtime.Path, append(global, args...)...)
		cmd.Env, cmd.Dir = runtimeEnv, dir
		return cmd.Run()
	}
	if err := crun("create", "--no-new-keyring", "--bundle", dir, compileID); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, "state", compileID, "seccomp.bpf"))
	// Where there is no pid namespace and no cgroup, delete leaves the process.
	if killed := crun("kill", compileID, "KILL"); err == nil {
		err = killed
	}
	if deleted := crun("delete", "--force", compileID); err == nil {
		err = deleted
	}
	return data, errors.Join(err, checkFilter(data))
}

// compileID names the container that is never started, and its program.
const compileID = "compile"

// writeCompileBundle makes the least bundle that crun takes.
func writeCompileBundle(dir string, profile *rspec.LinuxSeccomp, ready string) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	// crun looks whether the program is there.
	if err := os.WriteFile(filepath.Join(root, compileID), nil, 0o755); err != nil {
		return err
	}
	spec := &rspec.Spec{
		Version: specVersion,
		Root:    &rspec.Root{Path: root},
		Process: &rspec.Process{Args: []string{"/" + compileID}, Cwd: "/", Capabilities: &rspec.LinuxCapabilities{}},
		Mounts:  []rspec.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: "/dev"}}, // crun insists on it
		Linux: &rspec.Linux{
			Namespaces: []rspec.LinuxNamespace{{Type: rspec.MountNamespace}},
			Seccomp:    profile,
		},
	}
	if ready != "" {
		spec.Annotations = map[string]string{readyAnnotation: ready}
	}
	return writeSpec(filepath.Join(dir, "config.json"), spec)
}
