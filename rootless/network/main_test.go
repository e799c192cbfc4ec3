package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/builder-oci/builder/rootless/userns"
	"golang.org/x/sys/unix"
)

// The tests of namespaces run in a user namespace, and there in a network
// namespace that stands for the host's: it has an interface with a default
// route, and the tests may bind port 53 and mount over /etc/resolv.conf.

const (
	hostMarker = "NETWORK_TEST_HOST"
	hostIP     = "192.0.2.7"
	// pasta takes over the host's IPv6 address, so outside needs another.
	hostIP6    = "fd00:1::7"
	outsideIP6 = "fd00:2::7"
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		switch {
		case os.Getenv(ownerMarker) != "":
			return own(os.Getenv(ownerMarker))
		case os.Getenv(hostMarker) != "":
			return inHost(m)
		case userns.Inside():
			if err := userns.Setup(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return enterHost()
		case os.Geteuid() == 0:
			return m.Run()
		}
		code, err := userns.Enter(context.Background(), userns.Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

func enterHost() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(userns.Environ(), hostMarker+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func inHost(m *testing.M) int {
	// The tests look for what is left in directories of their own.
	if err := os.Unsetenv("XDG_RUNTIME_DIR"); err != nil {
		return 1
	}
	script := `set -e
ip link set lo up
ip link add out0 type veth peer name out1
ip addr add ` + hostIP + `/24 dev out0
ip -6 addr add ` + hostIP6 + `/64 dev out0 nodad
ip -6 addr add ` + outsideIP6 + `/128 dev lo nodad
ip link set out0 up
ip link set out1 up
ip route add default via 192.0.2.1
ip -6 route add default via fd00:1::1`
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "setting up the network that stands for the host's: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needHost skips a test that needs a user namespace where there is none.
func needHost(t *testing.T) {
	t.Helper()
	if os.Getenv(hostMarker) == "" {
		t.Skip("root of the machine needs no user namespace; run as an ordinary user: sudo -u USER go test ./rootless/network")
	}
	if err := tunError(); err != nil {
		t.Fatalf("%v\n(sudo chmod 0666 /dev/net/tun, as udev has it)", err)
	}
}

// forEachHelper runs a test with every helper, which must be installed.
func forEachHelper(t *testing.T, test func(t *testing.T, h helper)) {
	needHost(t)
	for name, at := range map[string]func(string) helper{pasta: pastaAt, slirp4netns: slirpAt} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, at(path))
		})
	}
}

// create makes a namespace whose helper is ready.
func create(t *testing.T, dir, helper string, dns DNS, ports []Port) (*Namespace, error) {
	t.Helper()
	pending, err := Begin(t.Context(), dir, helper, dns, ports)
	if err != nil {
		return nil, err
	}
	return pending.Ready(t.Context())
}

// createBy is create with the given helpers.
func createBy(ctx context.Context, dir string, dns DNS, ports []Port, helpers []helper) (*Namespace, error) {
	pending, err := begin(ctx, dir, dns, ports, helpers)
	if err != nil {
		return nil, err
	}
	return pending.Ready(ctx)
}

// within runs f in a network namespace.
func within(path string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		result <- func() error {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-result
}

// setResolvConf puts a file of ours in the place of /etc/resolv.conf.
func setResolvConf(t *testing.T, content string) {
	t.Helper()
	path := t.TempDir() + "/resolv.conf"
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(path, resolvConfPath, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(resolvConfPath, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// running lists the processes whose command line has the word.
func running(t *testing.T, word string) (found []string) {
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

// leftovers fails the test for what names dir in mounts, processes and files.
func leftovers(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("mounts are left in %s", dir)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("processes are left: %s", left)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("files are left: %v", entries)
	}
}
