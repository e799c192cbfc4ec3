package places

import (
	"os"
	"strings"
	"testing"
)

// troubles are what administrators, distributions and users do to a machine, each
// with the words that builder refuses in. What doctor then tells root to do has to
// mend it.
var troubles = []struct {
	name  string
	cause string // what brings it about, as root
	want  want
	undo  string // what takes the rest of it away, where the remedy doesn't
}{
	{
		name:  "kernel.unprivileged_userns_clone=0",
		cause: "sysctl -w kernel.unprivileged_userns_clone=0",
		want: want{
			choices: choices{Isolation: "none", Storage: "stacked", Mapping: "none: your own id alone", Network: "host"},
			refused: refusedWithout(`user namespaces are forbidden: the sysctl kernel.unprivileged_userns_clone is 0`),
			doctor:  2,
			says:    []string{`sudo sysctl -w kernel.unprivileged_userns_clone=1`},
		},
	},
	{
		name:  "user.max_user_namespaces=0",
		cause: "sysctl -w user.max_user_namespaces=0",
		want: want{
			choices: choices{Isolation: "none", Storage: "stacked", Mapping: "none: your own id alone", Network: "host"},
			refused: refusedWithout(`user namespaces are forbidden: the sysctl user.max_user_namespaces is 0`),
			doctor:  2,
			says:    []string{`sudo sysctl -w user.max_user_namespaces=`},
		},
	},
	{
		name: "AppArmor profile without userns",
		cause: `cat >/etc/apparmor.d/narrow <<'END'
abi <abi/4.0>,
include <tunables/global>
profile narrow /usr/bin/builder {
  capability,
  network,
  file,
  mount,
  umount,
  pivot_root,
  signal,
  ptrace,
  unix,
  dbus,
  change_profile,
  mqueue,
  io_uring,
}
END
apparmor_parser -r /etc/apparmor.d/narrow`,
		want: want{
			choices: choices{Isolation: "none", Storage: "stacked", Mapping: "none: your own id alone", Network: "host"},
			refused: refusedWithout(`user namespaces are forbidden: .*AppArmor`),
			doctor:  2,
		},
		undo: "apparmor_parser -R /etc/apparmor.d/narrow || : it is unloaded; rm -f /etc/apparmor.d/narrow /etc/apparmor.d/disable/narrow",
	},
	{
		name:  "no subordinate ids",
		cause: "sed -i /^ann:/d /etc/subuid /etc/subgid",
		want: want{
			choices: choices{Isolation: "oci", Storage: "fuse-overlayfs", Mapping: "single", Network: "private"},
			refused: map[string]string{"owners": `ann has no subordinate ids.*usermod --add-subuids`},
			doctor:  1,
			says:    []string{`sudo usermod --add-subuids \d+-\d+ --add-subgids \d+-\d+ ann`},
		},
	},
}

// refusedWithout is what is refused in these words where there is no user namespace.
func refusedWithout(words string) map[string]string {
	return map[string]string{"run": words, "owners": words, "emulated": words, "proc": words, "container": words}
}

// A machine as the installer of Debian left it, on which one thing after another is
// put right, goes wrong, and is put right again.
func TestMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("a virtual machine takes minutes")
	}
	m := newMachine(t)
	m.root(t, "apt-get update -q")
	t.Run("nothing installed", func(t *testing.T) {
		r := want{
			choices: choices{Isolation: "chroot", Storage: "overlay", Mapping: "single", Network: "host"},
			refused: map[string]string{"owners": `a single id.*apt-get install -y uidmap.*--emulate-ids`},
			doctor:  1,
			says:    []string{`sudo apt-get install -y uidmap fuse-overlayfs crun passt`},
		}.expect(t, "machine: Debian 13 as installed", m.probe(t))
		m.mend(t, r)
		want{choices: complete}.expect(t, "machine: Debian 13 as doctor mends it", m.probe(t))
	})
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			m.root(t, trouble.cause)
			if trouble.undo != "" {
				defer m.root(t, trouble.undo)
			}
			r := trouble.want.expect(t, "machine: "+trouble.name, m.probe(t))
			m.mend(t, r)
			m.works(t)
		})
	}
	t.Run("limits", func(t *testing.T) { testLimits(t, m) })
	t.Run("power cut", func(t *testing.T) { testPowerCut(t, m) })
	t.Run("the action", func(t *testing.T) { testAction(t, m) })
	t.Run("the package", func(t *testing.T) { testPackage(t, m) })
}

// works looks whether nothing is missing, by less than a whole probe.
func (m *machine) works(t *testing.T) {
	t.Helper()
	r := parseResults(m.ann(t, `STEPS="info doctor doctor-json base owners" sh /probe.sh`).output)
	if got := r.choices(t); got != complete || r["owners"].code != 0 || r["doctor"].code != 0 {
		t.Errorf("builder chose %+v, and doctor says\n%s\nand a build\n%s", got, r["doctor"].output, r["owners"].output)
	}
}

// probe runs the probe as the ordinary user, on a store of its own.
func (m *machine) probe(t *testing.T) string {
	t.Helper()
	return m.ann(t, "builder system reset --force >/dev/null 2>&1; sh /probe.sh").output
}

// mend does what doctor told root to do.
func (m *machine) mend(t *testing.T, r results) {
	t.Helper()
	lines := r.doctor(t).Commands.Root
	if len(lines) == 0 {
		t.Fatal("doctor knows no remedy")
	}
	t.Logf("as doctor says: %s", strings.Join(lines, "\n"))
	m.root(t, strings.Join(lines, "\n"))
}

// clear takes away what builder uses, and leaves the machine as installed.
func (m *machine) clear(t *testing.T) {
	t.Helper()
	m.root(t, "apt-get purge -q -y uidmap fuse-overlayfs crun passt slirp4netns && apt-get autopurge -q -y")
}

// The package brings what builder needs, and AppArmor's permission; it leaves nothing.
func testPackage(t *testing.T, m *machine) {
	m.clear(t)
	m.root(t, "mv /usr/bin/builder /root/builder")
	m.put(t, os.Getenv("BUILDER_DEB"), "/root/builder.deb")
	m.root(t, "apt-get install -q -y --no-install-recommends /root/builder.deb && grep '^builder ' /sys/kernel/security/apparmor/profiles")
	want{choices: complete}.expect(t, "machine: Debian 13 with the .deb", m.probe(t))
	m.root(t, `apt-get purge -q -y builder
for left in /usr/bin/builder /etc/apparmor.d/builder /usr/share/doc/builder; do test ! -e $left; done
! grep '^builder ' /sys/kernel/security/apparmor/profiles
mv /root/builder /usr/bin/builder`)
}

// The action's scripts, one after the other, as GitHub's runner calls them: its user
// may become root without a password. Nothing of what builder needs is there.
func testAction(t *testing.T, m *machine) {
	m.clear(t)
	m.root(t, "id runner || useradd --create-home --shell /bin/bash runner; echo 'runner ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/runner; mkdir -p /action")
	for _, file := range []string{"build.sh", "get.sh", "lib.sh", "prepare.sh"} {
		m.put(t, "../../action/"+file, "/action/"+file)
	}
	m.put(t, "../../action.yml", "/action/action.yml")
	m.put(t, "testdata/action.sh", "/action.sh")
	r := m.run(t, "runner", "sh /action.sh")
	if r.code != 0 || !strings.HasSuffix(r.output, "all is well") {
		t.Errorf("exit code %d:\n%s", r.code, r.output)
	}
}

// The script about limits, which is passed over where no cgroup is delegated.
func testLimits(t *testing.T, m *machine) {
	m.root(t, "apt-get install -q -y busybox-static runc slirp4netns && mkdir -p /tests/testdata/script")
	m.put(t, os.Getenv("BUILDER_TESTS"), "/tests/tests.test")
	m.put(t, "../testdata/script/run-limits.txtar", "/tests/testdata/script/")
	r := m.ann(t, "cd /tests && BUILDER_TEST_BINARY=/usr/bin/builder ./tests.test -test.v -test.run TestScript/run-limits")
	if r.code != 0 || !strings.Contains(r.output, "--- PASS: TestScript/run-limits") {
		t.Errorf("exit code %d:\n%s", r.code, r.output)
	}
}
