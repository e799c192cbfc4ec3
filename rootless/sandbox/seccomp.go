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
	dir     string

	mu      sync.Mutex
	ready   map[string]string // by capability set: base64 of the filter, "" where there is none
	refused bool              // crun doesn't take ready-made filters
}

// readyAnnotation is how crun takes a filter; it then disregards the profile.
const readyAnnotation = "run.oci.seccomp_bpf_data"

func newFilters(rt Runtime, dir string) *filters {
	return &filters{runtime: rt, dir: dir, ready: map[string]string{}, refused: rt.Name != "crun" || dir == ""}
}

// apply puts docker's profile into spec, which must have its capabilities, and
// tells whether the filter goes with it ready-made. The profile is there in
// both cases: a crun that doesn't know the annotation then compiles it.
func (f *filters) apply(spec *rspec.Spec, stateDir string) (ready bool, err error) {
	profile, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return false, fmt.Errorf("seccomp profile: %w", err)
	}
	spec.Linux.Seccomp = profile
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused {
		return false, nil
	}
	caps := strings.Join(spec.Process.Capabilities.Bounding, " ")
	data, known := f.ready[caps]
	if !known {
		data = f.load(profile, stateDir)
		f.ready[caps] = data
	}
	if data == "" {
		return false, nil
	}
	spec.Annotations = map[string]string{readyAnnotation: data}
	return true, nil
}

// refuse ends the use of ready-made filters.
func (f *filters) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = true
}

// load gets the filter from the cache, else from crun, else gives "": the
// filter only saves time, so what is wrong with it is no error.
func (f *filters) load(profile *rspec.LinuxSeccomp, stateDir string) string {
	text, err := json.Marshal(profile)
	if err != nil {
		return ""
	}
	key := sha256.Sum256([]byte(fmt.Sprintf("%s\n%s\n%s", f.runtime.identity(), runtime.GOARCH, text)))
	path := filepath.Join(f.dir, "seccomp-"+hex.EncodeToString(key[:16])+".bpf")
	filter, err := readFilter(path)
	if err != nil {
		if filter, err = f.harvest(profile, stateDir); err != nil {
			return ""
		}
		if os.MkdirAll(f.dir, 0o700) == nil {
			_ = writeFilter(path, filter)
		}
	}
	return base64.StdEncoding.EncodeToString(filter)
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

// harvest lets crun create a container, which leaves the compiled filter in
// its state directory, and removes it without having started it. This takes
// some 30 ms and isn't interrupted, or the container would stay.
func (f *filters) harvest(profile *rspec.LinuxSeccomp, stateDir string) ([]byte, error) {
	dir, err := os.MkdirTemp(stateDir, "seccomp-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const id = "harvest"
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return nil, err
	}
	// crun looks whether the program is there, but never starts it.
	if err := os.WriteFile(filepath.Join(dir, "rootfs", id), nil, 0o755); err != nil {
		return nil, err
	}
	spec := &rspec.Spec{
		Version: specVersion,
		Root:    &rspec.Root{Path: filepath.Join(dir, "rootfs")},
		Process: &rspec.Process{Args: []string{"/" + id}, Cwd: "/", Capabilities: &rspec.LinuxCapabilities{}},
		Mounts:  []rspec.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: "/dev"}}, // crun insists on it
		Linux: &rspec.Linux{
			Namespaces: []rspec.LinuxNamespace{{Type: rspec.MountNamespace}},
			Seccomp:    profile,
		},
	}
	if err := writeSpec(filepath.Join(dir, "config.json"), spec); err != nil {
		return nil, err
	}
	crun := func(args ...string) error {
		global := []string{"--root", filepath.Join(dir, "state"), "--cgroup-manager", "disabled"}
		cmd := exec.Command(f.runtime.Path, append(global, args...)...)
		cmd.Env, cmd.Dir = runtimeEnv, dir
		return cmd.Run()
	}
	if err := crun("create", "--no-new-keyring", "--bundle", dir, id); err != nil {
		return nil, err
	}
	filter, err := os.ReadFile(filepath.Join(dir, "state", id, "seccomp.bpf"))
	if deleted := crun("delete", "--force", id); err == nil {
		err = deleted
	}
	return filter, errors.Join(err, checkFilter(filter))
}
