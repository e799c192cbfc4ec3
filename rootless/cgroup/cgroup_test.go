package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

func TestLimitsInTheKernelsWords(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits Limits
		want   []setting
	}{
		{"none", Limits{Parent: "/x"}, nil},
		{"memory, and as much swap", Limits{Memory: 64}, []setting{
			{"memory", "memory.max", "64", false}, {"memory", "memory.swap.max", "64", true},
		}},
		{"memory and swap", Limits{Memory: 64, MemorySwap: 100}, []setting{
			{"memory", "memory.max", "64", false}, {"memory", "memory.swap.max", "36", false},
		}},
		{"no swap", Limits{Memory: 64, MemorySwap: 64}, []setting{
			{"memory", "memory.max", "64", false}, {"memory", "memory.swap.max", "0", false},
		}},
		{"any swap", Limits{Memory: 64, MemorySwap: -1}, []setting{
			{"memory", "memory.max", "64", false}, {"memory", "memory.swap.max", "max", true},
		}},
		{"quota", Limits{CPUQuota: 150_000}, []setting{{"cpu", "cpu.max", "150000 100000", false}}},
		{"quota and period", Limits{CPUQuota: 5000, CPUPeriod: 10_000}, []setting{{"cpu", "cpu.max", "5000 10000", false}}},
		{"processes", Limits{PIDs: 100}, []setting{{"pids", "pids.max", "100", false}}},
		{"period", Limits{CPUPeriod: 10_000}, []setting{{"cpu", "cpu.max", "max 10000", false}}},
		{"shares", Limits{CPUShares: 1024}, []setting{{"cpu", "cpu.weight", "39", false}}},
		{"the least and the most shares", Limits{CPUShares: 1}, []setting{{"cpu", "cpu.weight", "1", false}}},
		{"the most shares", Limits{CPUShares: 1 << 30}, []setting{{"cpu", "cpu.weight", "10000", false}}},
		{"sets", Limits{CPUs: "0-1", Mems: "0"}, []setting{
			{"cpuset", "cpuset.cpus", "0-1", false}, {"cpuset", "cpuset.mems", "0", false},
		}},
	} {
		if got := tc.limits.settings(); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	all := Limits{Memory: 1, CPUQuota: 1, CPUShares: 2, CPUs: "0", Mems: "0"}
	if got, want := all.controllers(), []string{"memory", "cpu", "cpuset"}; !reflect.DeepEqual(got, want) {
		t.Errorf("controllers %v", got)
	}
}

func TestOwnCgroupIsFound(t *testing.T) {
	if got, known := ownPath("4:memory:/old\n0::/user.slice/a b\n"); !known || got != "/user.slice/a b" {
		t.Errorf("%q %v", got, known)
	}
	if _, known := ownPath("4:memory:/old\n"); known {
		t.Error("found among those of version 1")
	}
	const mounts = `30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - tmpfs tmpfs ro
41 31 0:38 /docker/x /sys/fs/cgroup/unified rw,relatime shared:10 master:2 - cgroup2 cgroup2 rw
`
	if mountpoint, at, found := mountOf(mounts); !found || mountpoint != "/sys/fs/cgroup/unified" || at != "/docker/x" {
		t.Errorf("%q %q %v", mountpoint, at, found)
	}
	if _, _, found := mountOf("30 24 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n"); found {
		t.Error("a mount of version 1 was taken")
	}
}

func TestControllersOfVersion1AreTold(t *testing.T) {
	const text = "5:cpu,cpuacct:/a\n4:memory:/\n1:name=systemd:/\n0::/b\n"
	for name, want := range map[string]bool{"memory": true, "cpu": true, "cpuset": false, "name=systemd": true, "b": false} {
		if isOld(text, name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// directory makes what the kernel shows of a cgroup.
func directory(t *testing.T, files map[string]string) place {
	t.Helper()
	p := place{dir: t.TempDir(), path: "/here"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestWhatIsMissingIsTold(t *testing.T) {
	p := directory(t, map[string]string{"cgroup.procs": "1\n", "cgroup.subtree_control": "", "cgroup.controllers": "memory pids\n"})
	if err := p.check([]string{"memory"}); err != nil {
		t.Error(err)
	}
	err := p.check([]string{"memory", "cpuset"})
	if err == nil || !strings.Contains(err.Error(), `"cpuset" isn't delegated to builder's cgroup /here`) || fault.Remedy(err) == "" {
		t.Errorf("%v", err)
	}
	if p.isAlone() {
		t.Error("process 1 was taken for this one")
	}
	p.root = directory(t, map[string]string{"cgroup.controllers": "cpuset memory pids\n"}).dir
	if err := p.check([]string{"cpuset"}); !strings.Contains(err.Error(), "isn't delegated") {
		t.Errorf("%v", err)
	}
	if err := p.check([]string{"cpu"}); !strings.Contains(err.Error(), "isn't among those of this machine") || !strings.Contains(fault.Remedy(err), "cgroup_enable=cpu") {
		t.Errorf("%v", err)
	}
	err = directory(t, nil).check(nil)
	if err == nil || !strings.Contains(err.Error(), "isn't delegated to it") || fault.Remedy(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestOthersKeepTheirLimits: whoever leaves a cgroup doesn't take back the
// controllers that another builder's programs are limited by.
func TestOthersKeepTheirLimits(t *testing.T) {
	own := fmt.Sprintln(os.Getpid())
	for _, tc := range []struct {
		name, procs, group string
		want               string // last written to cgroup.subtree_control
	}{
		{"alone", own, "", "-memory"},
		{"another in the leaf", own + "1\n", "", "memory"},
		{"another's program", own, prefix + "other", "memory"},
	} {
		p := directory(t, map[string]string{"cgroup.procs": "", "cgroup.subtree_control": "memory"})
		if err := os.Mkdir(filepath.Join(p.dir, leaf), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, leaf, "cgroup.procs"), []byte(tc.procs), 0o644); err != nil {
			t.Fatal(err)
		}
		if tc.group != "" {
			held := filepath.Join(p.dir, tc.group)
			if err := os.Mkdir(held, 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(held)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}
		p.leave()
		if got := p.words("cgroup.subtree_control"); len(got) != 1 || got[0] != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNoLimitsNeedNoCgroup(t *testing.T) {
	release, err := Claim(t.Context(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestLeftoversAreSwept(t *testing.T) {
	p := directory(t, nil)
	for _, name := range []string{prefix + "dead", prefix + "alive", leaf, "other"} {
		if err := os.MkdirAll(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// A descriptor of its own holds the lock as another process's would.
	alive, err := os.Open(filepath.Join(p.dir, prefix+"alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alive.Close() }()
	if err := unix.Flock(int(alive.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p.sweep()
	for name, want := range map[string]bool{prefix + "dead": false, prefix + "alive": true, leaf: true, "other": true} {
		if _, err := os.Stat(filepath.Join(p.dir, name)); errors.Is(err, os.ErrNotExist) == want {
			t.Errorf("%s: there is %v, want %v", name, !want, want)
		}
	}
}

// TestGroupIsFrozenAndGoesOn needs a cgroup that is the user's: see the tests of the
// whole program.
func TestGroupIsFrozenAndGoesOn(t *testing.T) {
	parent := os.Getenv("BUILDER_TEST_CGROUP")
	if parent == "" {
		t.Skip("BUILDER_TEST_CGROUP names no cgroup")
	}
	d, err := Open(Limits{Parent: parent})
	if err != nil {
		t.Fatal(err)
	}
	g, err := d.New("frozen", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Remove()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.Dir().Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, frozen := range []bool{true, false} {
		if err := g.Freeze(frozen); err != nil {
			t.Error(err)
		}
		events, err := os.ReadFile(filepath.Join(g.Dir().Name(), "cgroup.events"))
		if err != nil || strings.Contains(string(events), "frozen 1") != frozen {
			t.Errorf("%v: %s %v", frozen, events, err)
		}
	}
	g.Remove()
	if err := cmd.Wait(); err == nil {
		t.Error("the process has outlived its group")
	}
}
