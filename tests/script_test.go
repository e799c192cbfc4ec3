package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs the files of testdata/script, several at once. Each has its
// own store, run-time directory and home, in STATE:
//
//	BUILDER_ROOT=$STATE/store  XDG_RUNTIME_DIR=$STATE/run  HOME=$STATE/home
//
// HERE and FOREIGN are this machine's architecture and another one,
// and other tools find the image app as $OCI:app:latest. It starts in $WORK,
// where its files are. After it, no process and no live session may be left.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setUp,
		Cmds:                commands,
		Condition:           condition,
		WorkdirRoot:         ground.dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// condition tells scripts about the machine: [emulated], [delegated],
// [systemd] and [ipv6].
func condition(name string) (bool, error) {
	switch name {
	case "emulated":
		return emulated(), nil
	case "delegated":
		return delegated(), nil
	case "systemd":
		return os.Getenv(cgroupEnv) == "" && delegated(), nil
	case "ipv6":
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			return false, nil
		}
		return true, l.Close()
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func setUp(env *testscript.Env) error {
	state, err := newState()
	if err != nil {
		return err
	}
	for name, value := range state.env() {
		env.Setenv(name, value)
	}
	env.Setenv(cgroupEnv, os.Getenv(cgroupEnv))
	if level := os.Getenv("BUILDER_ISOLATION"); level != "" { // all of them at another level
		env.Setenv("BUILDER_ISOLATION", level)
	}
	action, err := filepath.Abs("../action")
	if err != nil {
		return err
	}
	env.Setenv("ACTION", action)
	env.Values[stateKey{}] = state
	env.Defer(func() {
		if err := state.close(); err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	return nil
}

type stateKey struct{}

// state is where one test's builder keeps things.
type state struct {
	dir string
}

func newState() (*state, error) {
	dir, err := os.MkdirTemp(ground.dir, "s")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"home", "run"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	return &state{dir}, nil
}

func (s *state) root() string { return filepath.Join(s.dir, "store") }

func (s *state) env() map[string]string {
	return map[string]string{
		"STATE":           s.dir,
		"BUILDER_ROOT":    s.root(),
		"OCI":             "oci:" + s.root() + "/images",
		"XDG_RUNTIME_DIR": filepath.Join(s.dir, "run"),
		"HOME":            filepath.Join(s.dir, "home"),
		"PATH":            filepath.Dir(ground.binary) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL":          "C.UTF-8",
		"HERE":            runtime.GOARCH,
		"FOREIGN":         foreign(),
	}
}

// command prepares to run a program on this state, outside a script.
func (s *state) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	if name == "builder" {
		cmd = exec.Command(ground.binary, args...)
	}
	cmd.Dir = s.dir
	for name, value := range s.env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// builder runs builder on this state and gives its standard output.
func (s *state) builder(args ...string) (string, error) {
	cmd := s.command("builder", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("builder %s: %w\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// importBase imports one of the bases under its own name.
func (s *state) importBase(name string) error {
	tarball, known := bases[name]
	if !known {
		return fmt.Errorf("no base is called %q", name)
	}
	file, err := tarball()
	if err != nil {
		return err
	}
	_, err = s.builder("import", file, name)
	return err
}

// quiet says what a test that is done has left running or registered.
func (s *state) quiet() error {
	var errs []error
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		errs = nil
		for p, line := range processesOf(s.dir) {
			errs = append(errs, fmt.Errorf("left running: %d %s", p.pid, line))
		}
		if len(errs) == 0 || time.Now().After(deadline) {
			break
		}
	}
	sessions, err := liveSessions(s.root())
	if err != nil {
		return err
	}
	for _, name := range sessions {
		errs = append(errs, fmt.Errorf("left in the store: sessions/%s", name))
	}
	return errors.Join(errs...)
}

// close looks whether anything is left, ends it, and removes the directory,
// which is also a test of `system reset`.
func (s *state) close() error {
	var errs []error
	errs = append(errs, s.quiet())
	for _, dir := range halfContainers(s.root()) {
		errs = append(errs, fmt.Errorf("left half removed: %s", dir))
	}
	for p := range processesOf(s.dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	if _, err := os.Stat(filepath.Join(s.root(), "version")); err == nil {
		_, err := s.builder("system", "reset", "--force")
		errs = append(errs, err)
	}
	errs = append(errs, removeTree(s.dir))
	return errors.Join(errs...)
}
