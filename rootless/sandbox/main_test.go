package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/builder-oci/builder/rootless/chroot"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/pid1"
	"github.com/builder-oci/builder/rootless/userns"
	"golang.org/x/sys/unix"
)

// The tests run in a user namespace, the whole of them twice: with a range of
// subordinate ids and with a single id.

func TestMain(m *testing.M) {
	os.Exit(func() int {
		switch {
		case os.Args[0] == InitPath:
			return pid1.Run(os.Args[1:])
		case os.Args[0] == chroot.Name:
			return chroot.Main(os.Args[1:])
		case os.Args[0] == "reexec":
			return reexec()
		case os.Getenv(probeMarker) != "":
			return probe()
		case userns.Inside():
			if err := userns.Setup(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return m.Run()
		case os.Geteuid() == 0:
			return m.Run()
		}
		for _, single := range []bool{false, true} {
			code, err := userns.Enter(context.Background(), userns.Options{Single: single})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			if code != 0 {
				fmt.Fprintf(os.Stderr, "in a user namespace with a single id: %v\n", single)
				return code
			}
		}
		return 0
	}())
}

// reexec executes this program again without end, by another thread than the first.
// It takes no part in the program's life.
func reexec() int {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		failed <- syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}()
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

func needNamespace(t testing.TB) {
	t.Helper()
	if !userns.Inside() {
		t.Skip("root of the machine needs no user namespace; run as an ordinary user: sudo -u USER go test ./rootless/sandbox")
	}
}

// rootFS makes a root file system of busybox with the mount points that every
// sandbox needs.
func rootFS(t testing.TB) string {
	t.Helper()
	needNamespace(t)
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "proc", "sys", "dev", "etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"resolv.conf", "hosts", "hostname"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, "/bin/busybox", filepath.Join(root, "bin/busybox"))
	for _, applet := range strings.Fields("sh true cat ls id sleep echo env grep stat hostname readlink find touch setsid kill mount wc head dd trap tr stty") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// shell is a spec for a shell command in a busybox root.
func shell(t testing.TB, script string) Spec {
	t.Helper()
	return Spec{
		ID: "test", RootFS: rootFS(t), Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"},
		Network: network.ModeNone, StateDir: filepath.Join(t.TempDir(), "state"),
	}
}

// runtimes gives the runtimes of this machine, both of which must be there.
func runtimes(t testing.TB) []Runtime {
	t.Helper()
	var found []Runtime
	for _, name := range []string{"crun", "runc"} {
		rt, err := FindRuntime(name)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, rt)
	}
	return found
}

// withOwn are the machine's runtimes and builder's own.
func withOwn(t testing.TB) []Runtime {
	t.Helper()
	return append(runtimes(t), Runtime{Name: ownRuntime, Path: "/proc/self/exe"})
}

// forEachRuntime runs a test with every runtime, with and, once, without a pid
// namespace.
func forEachRuntime(t *testing.T, test func(t *testing.T, o *OCI)) {
	needNamespace(t)
	mapping, err := userns.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range withOwn(t) {
		for _, pidNS := range []bool{true, false} {
			if !pidNS && mapping.Kind == userns.KindSingle {
				continue // the ids make no difference to it
			}
			t.Run(fmt.Sprintf("%s-pidns-%v", rt.Name, pidNS), func(t *testing.T) {
				if rt.Name != "crun" {
					showCgroups()
				}
				test(t, NewOCI(rt, filepath.Join(t.TempDir(), "cache"), pidNS))
			})
		}
	}
}

// showCgroups undoes what a sandbox of crun's has done to this process, which
// otherwise has one runtime only.
func showCgroups() {
	for unix.Unmount(cgroupRoot, 0) == nil {
	}
}

// output runs s and gives its output, which is an error if it fails.
func output(t testing.TB, o *OCI, s Spec) string {
	t.Helper()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	exit, err := o.Run(t.Context(), s)
	if err != nil || exit.Code != 0 {
		t.Fatalf("exit %+v, error %v\n%s%s", exit, err, out.String(), errs.String())
	}
	left, err := os.ReadDir(s.StateDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v (%v)", left, err)
	}
	return out.String()
}

// running lists the processes whose command line has the word.
func running(t testing.TB, word string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && bytes.Contains(line, []byte(word)) {
			found = append(found, e.Name()+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
