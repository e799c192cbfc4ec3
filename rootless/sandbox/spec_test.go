package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/userns"
)

func TestProgramSeesWhatTheSpecSays(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		base := shell(t, "")
		for _, tc := range []struct {
			name, script string
			change       func(*Spec)
			want         string
		}{
			{"environment", "env | grep -e ^PATH= -e ^A= -e ^XDG -e NOTIFY | sort", func(s *Spec) { s.Env = append(s.Env, "A=b c") }, "A=b c\nPATH=/bin\n"},
			{"working directory", "readlink /proc/self/cwd", func(s *Spec) { s.Cwd = "/tmp" }, "/tmp\n"},
			{"hostname", "hostname; cat /etc/hostname", func(s *Spec) { s.Hostname = "box" }, "box\nbox\n"},
			{"resolver and hosts", "cat /etc/resolv.conf /etc/hosts", func(s *Spec) { s.ResolvConf, s.Hosts = []byte("r\n"), []byte("h\n") }, "r\nh\n"},
			{"own files where nothing is given", "wc -c < /etc/hosts", nil, "0\n"},
			{"shared memory", "mount | grep -o ' /dev/shm .*size=[0-9]*k'", func(s *Spec) { s.ShmSize = 1 << 20 }, "size=1024k"},
			{"read-only root", "touch /x 2>/dev/null || echo no", func(s *Spec) { s.ReadOnly = true }, "no\n"},
			{"bind mount", "cat /tmp/m/f", func(s *Spec) {
				s.Mounts = []Mount{{Type: "bind", Source: sourceDir(t), Destination: "/tmp/m", Options: []string{"rbind", "ro"}}}
			}, "mounted"},
			{"limit", "ulimit -S -n; ulimit -H -n", func(s *Spec) { s.Ulimits = []Ulimit{{"nofile", 60, 61}} }, "60\n61\n"},
			{"may gain privileges", "grep NoNewPrivs /proc/self/status", nil, "NoNewPrivs:\t0\n"},
			{"filtered", "grep Seccomp: /proc/self/status", nil, "Seccomp:\t2\n"},
			{"default capabilities", "grep -e CapBnd -e CapEff /proc/self/status", nil, "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"},
			{"no inheritable capabilities", "grep -e CapInh -e CapAmb /proc/self/status", nil, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n"},
			{"changed capabilities", "grep CapBnd /proc/self/status", func(s *Spec) {
				s.CapAdd, s.CapDrop = []string{"sys_admin"}, []string{"ALL"}
			}, "CapBnd:\t0000000000200000\n"},
			{"devices", "for d in null zero full random urandom; do head -c0 /dev/$d || echo $d; done; echo x > /dev/null && ls -d /dev/ptmx /dev/fd /dev/stdin", nil, "/dev/fd\n/dev/ptmx\n/dev/stdin\n"},
			{"hidden paths", "cat /proc/kcore /proc/keys; ls /sys/firmware", nil, ""},
			{"read-only paths", "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x; do { echo x > $f; } 2>/dev/null && echo $f; done; true", nil, ""},
			{"what is killed first", "cat /proc/self/oom_score_adj", func(s *Spec) { s.OOMScoreAdj = 999 }, "999\n"},
			{"own ipc namespace", "ls /dev/mqueue; echo $?", nil, "0\n"},
		} {
			s := base
			s.Args = []string{"sh", "-c", tc.script}
			if tc.change != nil {
				tc.change(&s)
			}
			if got := output(t, o, s); !strings.HasSuffix(strings.TrimSpace(got), strings.TrimSpace(tc.want)) || (tc.want == "") != (got == "") {
				t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
			}
		}
	})
}

func sourceDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("mounted"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHostNetworkShowsSysReadOnly(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "grep -e ' /sys' /proc/self/mountinfo")
		s.Network = network.ModeHost
		for line := range strings.Lines(output(t, o, s)) {
			if fields := strings.Fields(line); !strings.HasPrefix(fields[5], "ro") {
				t.Errorf("writable: %s", line)
			}
		}
	})
}

func TestUserAndGroups(t *testing.T) {
	needNamespace(t)
	mapping, err := userns.Current()
	if err != nil {
		t.Fatal(err)
	}
	o := NewOCI(runtimes(t)[0], "", true)
	s := shell(t, "id -u; id -g; id -G; stat -c %g /dev/pts; stat -c %a /dev/pts/ptmx")
	s.Groups = []uint32{0, 7, 8}
	var want string
	if mapping.Kind == userns.KindSingle {
		want = "0\n0\n0\n0\n666\n"
	} else {
		s.UID, s.GID = 1000, 1001
		want = "1000\n1001\n1001 0 7 8\n0\n666\n"
	}
	if err := os.Chmod(s.RootFS, 0o755); err != nil {
		t.Fatal(err)
	}
	got := output(t, o, s)
	if mapping.Kind == userns.KindSingle {
		// The kernel keeps the caller's groups, which no id here stands for.
		got = strings.ReplaceAll(got, " 65534", "")
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLimitAboveTheSessionsIsRefused(t *testing.T) {
	needNamespace(t)
	o := NewOCI(runtimes(t)[0], "", true)
	s := shell(t, "true")
	s.Ulimits = []Ulimit{{"nofile", Unlimited, Unlimited}}
	if _, err := o.Run(t.Context(), s); !strings.Contains(fmt.Sprint(err), "hard limit") || fault.Remedy(err) == "" {
		t.Errorf("error %v", err)
	}
}

func TestOpenFilesLimitIsTheSessions(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		got := output(t, o, shell(t, "grep 'open files' /proc/self/limits"))
		want := ""
		data, err := os.ReadFile("/proc/self/limits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "Max open files") {
				want = line
			}
		}
		// Go raises its own soft limit, and os/exec takes that back.
		if g, w := strings.Fields(got), strings.Fields(want); g[4] != w[4] {
			t.Errorf("hard limit: %q, want %q", got, want)
		}
	})
}

// TestMountPointsAreAllThatTouchesTheRoot runs on a root that has the mount
// points and compares it before and after.
func TestMountPointsAreAllThatTouchesTheRoot(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		for _, mode := range []network.Mode{network.ModeNone, network.ModeHost} {
			s := shell(t, "true")
			s.Network = mode
			s.Hostname, s.ResolvConf, s.Hosts = "box", []byte("r"), []byte("h")
			s.Mounts = []Mount{
				{Type: "bind", Source: "/etc/passwd", Destination: "/opt/one/file", Options: []string{"bind"}},
				{Type: "tmpfs", Source: "tmpfs", Destination: "/opt/two"},
			}
			for _, dir := range []string{"proc", "sys", "dev"} {
				if err := os.Remove(filepath.Join(s.RootFS, dir)); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range MountPoints(s) {
				path := filepath.Join(s.RootFS, p.Path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if p.Dir {
					if err := os.MkdirAll(path, 0o755); err != nil {
						t.Fatal(err)
					}
				} else if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before := listing(t, s.RootFS)
			output(t, o, s)
			if after := listing(t, s.RootFS); !reflect.DeepEqual(after, before) {
				t.Errorf("network %s: before %v\nafter %v", mode, before, after)
			}
		}
	})
}

func listing(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(path, info.Mode(), info.ModTime().UnixNano()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCapabilities(t *testing.T) {
	for _, tc := range []struct {
		add, drop string
		want      int
		has, not  string
	}{
		{"", "", 14, "CAP_CHOWN", "CAP_SYS_ADMIN"},
		{"SYS_PTRACE", "", 15, "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"},
		{"cap_sys_ptrace", "chown", 14, "CAP_SYS_PTRACE", "CAP_CHOWN"},
		{"", "ALL", 0, "", "CAP_CHOWN"},
		{"CHOWN", "ALL", 1, "CAP_CHOWN", "CAP_KILL"},
		{"CHOWN", "CHOWN", 13, "CAP_KILL", "CAP_CHOWN"},
		{"ALL", "CHOWN", -1, "CAP_SYS_ADMIN", "CAP_CHOWN"},
	} {
		got, err := Capabilities(strings.Fields(tc.add), strings.Fields(tc.drop))
		if err != nil {
			t.Error(err)
		}
		if tc.want >= 0 && len(got) != tc.want || tc.has != "" && !slices.Contains(got, tc.has) || slices.Contains(got, tc.not) {
			t.Errorf("add %q, drop %q: %v", tc.add, tc.drop, got)
		}
	}
	if _, err := Capabilities([]string{"FLY"}, nil); fault.Remedy(err) == "" {
		t.Errorf("an unknown capability: %v", err)
	}
}
