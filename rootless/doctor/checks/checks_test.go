package checks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

func TestMain(m *testing.M) {
	children["errno"] = func([]string) error { return os.NewSyscallError("mount", unix.EPERM) }
	children["fault"] = func([]string) error { return fault.New("mend it", "it is broken") }
	children["dies"] = func([]string) error { return unix.Kill(os.Getpid(), unix.SIGKILL) }
	if os.Args[0] == ChildPath {
		os.Exit(RunChild(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func results(states map[string]State) (list []Result) {
	for name, state := range states {
		r := about(name).result(state, "found about "+name)
		r.Remedy = "sudo modprobe " + name
		list = append(list, r)
	}
	return list
}

func TestVerdictFollowsFromTheChecks(t *testing.T) {
	for _, tc := range []struct {
		name   string
		states map[string]State
		want   State
		says   string
	}{
		{"all is well", map[string]State{"user-namespace": OK, "isolation": OK, "emulators": Info}, OK, "All works."},
		{"something stands in", map[string]State{"fuse-overlayfs": OK, "overlay": Less, "crun": Less, "runc": OK}, OK, "All works."},
		{"something is missing", map[string]State{"fuse-overlayfs": Less, "overlay": OK}, Less, "builder works here, and could do more."},
		{"nothing stands in", map[string]State{"pasta": Less, "slirp4netns": Less, "isolation": OK}, Less, "builder works here, and could do more."},
		{"nothing can be run", map[string]State{"user-namespace": Less, "isolation": Fails, "store": OK}, Fails, "Only what has no RUN can be built here."},
		{"nothing is entered", map[string]State{"user-namespace": Less, "isolation": Fails, "store": OK, "lock": Skipped}, Fails, "builder can't build here."},
		{"no store", map[string]State{"isolation": Skipped, "store": Fails}, Fails, "builder can't build here."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := reportOf(settle(results(tc.states)))
			if r.Verdict != tc.want || r.Conclusion() != tc.says {
				t.Errorf("%s, %q; want %s, %q", r.Verdict, r.Conclusion(), tc.want, tc.says)
			}
			if want := map[State]int{OK: 0, Less: 1, Fails: 2}[tc.want]; r.ExitCode() != want {
				t.Errorf("exit code %d", r.ExitCode())
			}
			if (r.Verdict == OK) != r.Commands.Empty() {
				t.Errorf("commands: %+v", r.Commands)
			}
			if !slices.IsSortedFunc(r.Checks, func(a, b Result) int { return rank(a.Check) - rank(b.Check) }) {
				t.Error("the checks aren't in their order")
			}
		})
	}
}

func TestHelpersCountByTheNetworkThatIsConfigured(t *testing.T) {
	both := map[string]State{"pasta": Less, "slirp4netns": Less}
	for _, tc := range []struct {
		asked        string
		states       map[string]State
		pasta, slirp State
	}{
		{"", both, Less, Less},
		{"host", both, Info, Info},
		{"none", map[string]State{"pasta": OK, "slirp4netns": Less}, OK, Info},
		{"private", both, Fails, Fails},
		{"private", map[string]State{"pasta": Less, "slirp4netns": OK}, Info, OK},
		{"slirp4netns", map[string]State{"pasta": OK, "slirp4netns": Less}, OK, Fails},
		{"pasta", map[string]State{"pasta": OK, "slirp4netns": Less}, OK, Info},
	} {
		asked, err := network.ParseChoice(tc.asked)
		if err != nil {
			t.Fatal(err)
		}
		list := settle(byNetwork(asked, results(tc.states)))
		if pasta, slirp := find(list, "pasta").State, find(list, "slirp4netns").State; pasta != tc.pasta || slirp != tc.slirp {
			t.Errorf("%q of %v: pasta %s, slirp4netns %s; want %s, %s", tc.asked, tc.states, pasta, slirp, tc.pasta, tc.slirp)
		}
		if told := find(list, "network").Check != ""; told != (tc.asked != "") {
			t.Errorf("%q: the network is told: %t", tc.asked, told)
		}
	}
}

func TestWhatFollowsFromALackIsToldOnce(t *testing.T) {
	list := results(map[string]State{"user-namespace": Less, "nested-namespace": Less, "isolation": Fails, "mapping": Less})
	for i := range list {
		list[i].Found = "user namespaces are forbidden"
	}
	for _, r := range settle(list) {
		if r.Check != "user-namespace" && r.Remedy != "" {
			t.Errorf("%s repeats the remedy", r.Check)
		}
		if r.Check == "user-namespace" && r.State != Fails {
			t.Errorf("the user namespace is %s, though nothing is run without", r.State)
		}
	}
}

func TestACheckThatDoesNotEndIsLeftBehind(t *testing.T) {
	var got []Result
	block := make(chan struct{})
	defer close(block)
	all(t.Context(), 10*time.Millisecond, []try{
		one("lock", func(context.Context) Result { return ok("lock", "fine") }),
		one("disk", func(context.Context) Result { <-block; return Result{} }),
	}, func(r ...Result) { got = append(got, r...) })
	if len(got) != 2 || find(got, "lock").State != OK || find(got, "disk").State != Less {
		t.Errorf("%+v", got)
	}
}

func TestAChildTellsItsError(t *testing.T) {
	if err := child(t.Context(), nil, nil, nil, "errno"); !errors.Is(err, unix.EPERM) {
		t.Errorf("%v isn't the kernel's", err)
	}
	err := child(t.Context(), nil, nil, nil, "fault")
	if err == nil || err.Error() != "it is broken" || fault.Remedy(err) != "mend it" {
		t.Errorf("%v; remedy %q", err, fault.Remedy(err))
	}
	if err := child(t.Context(), nil, nil, nil, "dies"); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v doesn't tell that it was killed", err)
	}
}

func TestMemoryIsTheNearestLimit(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/meminfo", "MemTotal:  8000000 kB\nMemAvailable:  2097152 kB\n")
	write("proc/self/cgroup", "0::/a/b\n")
	at := func() string {
		free, why := memoryOf(filepath.Join(dir, "proc"), filepath.Join(dir, "cg"))
		return fmt.Sprintf("%d MiB %s", free>>20, why)
	}
	if got := at(); got != "2048 MiB on this machine" {
		t.Error(got)
	}
	write("cg/a/memory.max", "134217728\n")
	write("cg/a/memory.current", "104857600\n")
	write("cg/a/b/memory.max", "max\n")
	write("cg/a/b/memory.current", "104857600\n")
	if got := at(); got != "28 MiB in the cgroup /a, whose limit is 128 MiB" {
		t.Error(got)
	}
	write("proc/self/cgroup", "4:memory:/old\n")
	write("cg/memory/old/memory.limit_in_bytes", "67108864\n")
	write("cg/memory/old/memory.usage_in_bytes", "0\n")
	if got := at(); got != "64 MiB in the cgroup /old, whose limit is 64 MiB" {
		t.Error(got)
	}
}

func TestResolverIsAsked(t *testing.T) {
	if err := askResolvers(t.Context(), []byte("search example.com\n")); err == nil || err.Error() != "no resolver is known" {
		t.Errorf("%v", err)
	}
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	asked := make(chan []byte, 1)
	go func() {
		question := make([]byte, 512)
		n, from, err := server.ReadFrom(question)
		if err != nil {
			return
		}
		asked <- slices.Clone(question[:n])
		question[2] |= 0x80 // an answer
		_, _ = server.WriteTo(question[:n], from)
	}()
	if err := askResolver(t.Context(), server.LocalAddr().String()); err != nil {
		t.Error(err)
	}
	if q := <-asked; len(q) != 17 || binary.BigEndian.Uint16(q[4:]) != 1 {
		t.Errorf("% x isn't one question for the root", q)
	}
}

func TestIDsThatAreMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(path, []byte("         0       1000          1\n        10     100000      65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint64]bool{0: true, 1: false, 10: true, 65545: true, 65546: false} {
		if isMapped(path, id) != want {
			t.Errorf("%d: %v", id, !want)
		}
	}
}

func TestRoomIsToldInUnitsThatFit(t *testing.T) {
	for bytes, want := range map[uint64]string{0: "0B", 40 << 20: "41.9MB", 35 << 30: "37.6GB"} {
		if got := inUnits(bytes); got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
}

func TestClockThatIsBehindIsSeen(t *testing.T) {
	root := t.TempDir()
	m := Machine{Root: root}
	if r := m.clock(t.Context()); r.State != OK {
		t.Errorf("%+v", r)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(root, later, later); err != nil {
		t.Fatal(err)
	}
	if r := m.clock(t.Context()); r.State != Less || r.Remedy == "" {
		t.Errorf("%+v", r)
	}
	m = Machine{Root: "/", Registries: []string{"registry.example"}}
	m.Ping = func(context.Context, string) (time.Time, error) { return time.Now().Add(-time.Hour), nil }
	if r := m.clock(t.Context()); r.State != Less {
		t.Errorf("%+v", r)
	}
}

func TestWhatCouldNotBeTriedSaysForWantOfWhat(t *testing.T) {
	m := Machine{
		Root:  t.TempDir(),
		Open:  func(context.Context) (string, func() error, error) { return "", func() error { return nil }, nil },
		Enter: func(context.Context, *os.File) (int, error) { return 0, errors.New("there are no ids") },
	}
	for state, why := range map[State]string{Less: needsNamespace, OK: "see isolation"} {
		c := collected{results: results(map[string]State{"user-namespace": state})}
		m.examineInside(t.Context(), &c)
		if r := c.of("crun"); r.State != Skipped || !strings.Contains(r.Found, why) {
			t.Errorf("user namespace %s: %+v", state, r)
		}
		if r := c.of("isolation"); r.State != Fails || r.Found != "there are no ids" {
			t.Errorf("user namespace %s: %+v", state, r)
		}
		if r := c.of("store"); r.State != OK {
			t.Errorf("user namespace %s: %+v", state, r)
		}
	}
}
