package sandbox

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestMemoryCgroups(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []cgroupPlace
	}{
		{"unified", "0::/user.slice/a\n", []cgroupPlace{{cgroupRoot, "/user.slice/a", true}}},
		{"hybrid", "5:memory:/m\n1:name=systemd:/\n0::/u\n", []cgroupPlace{{cgroupRoot + "/memory", "/m", false}, {cgroupRoot, "/u", true}}},
		{"joint controllers", "2:cpu,memory:/m\n", []cgroupPlace{{cgroupRoot + "/cpu,memory", "/m", false}}},
		{"no memory controller", "1:cpu:/\n", nil},
		{"garbage", "x\n", nil},
	} {
		if got := memoryCgroups(tc.text); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// fakeCgroup makes directories as the kernel shows cgroups, with a limit on
// the parent.
func fakeCgroup(t *testing.T, v2 bool, files map[string]string) (c *memory, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "parent", "own")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &memory{dir: f, path: "/parent/own", v2: v2}, dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestKillForWantOfMemoryIsTold(t *testing.T) {
	for _, tc := range []struct {
		name          string
		v2            bool
		counter       string
		before, after string
		files         map[string]string
	}{
		{
			"version 2", true, "memory.events",
			"low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n",
			map[string]string{"memory.max": "max\n", "memory.peak": "2048\n", "../memory.max": "4096\n"},
		},
		{
			"version 1", false, "memory.oom_control",
			"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
			map[string]string{"memory.limit_in_bytes": "9223372036854771712\n", "memory.max_usage_in_bytes": "2048\n", "../memory.limit_in_bytes": "4096\n"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, dir := fakeCgroup(t, tc.v2, tc.files)
			write(t, filepath.Join(dir, tc.counter), tc.before)
			before := c.oomKills()
			if oom, unknown := c.oomSince(before); oom != nil || unknown {
				t.Errorf("without a kill: %+v", oom)
			}
			write(t, filepath.Join(dir, tc.counter), tc.after)
			want := &OOM{Cgroup: "/parent/own", Limit: 4096, Peak: 2048}
			if oom, unknown := c.oomSince(before); unknown || !reflect.DeepEqual(oom, want) {
				t.Errorf("after a kill: %+v, want %+v", oom, want)
			}
		})
	}
}

func TestWithoutACgroupNothingIsTold(t *testing.T) {
	var c *memory
	if oom, unknown := c.oomSince(c.oomKills()); oom != nil || !unknown {
		t.Errorf("%+v", oom)
	}
}
