package places

import (
	_ "embed"
	"strings"
	"testing"
	"time"
)

// What is refused, and in which words, where a pod leaves nothing to run a RUN in.
var (
	withoutNamespace = refusedWithout(`user namespaces are forbidden: the seccomp filter of this container denies them.*seccompProfile: \{type: Unconfined\}`)
	withoutOwners    = map[string]string{"owners": `no_new_privs is set.*allowPrivilegeEscalation: true`}
	withoutMounts    = map[string]string{
		"proc":      `the command ended with exit code 1`, // there is none, as the docs say
		"container": `containers need a mount namespace, and none can be made here`,
	}
)

// withoutTelling is of root of a pod, who is told what works without a change of the
// manifest.
func withoutTelling(words string) map[string]string {
	refused := refusedWithout(words)
	refused["copy"] = words
	return refused
}

// forbidden says what forbids namespaces, and not that there are no ids for them.
const forbidden = `seccomp filter of this container denies them.*` + toldChroot

const toldChroot = `BUILDER_ISOLATION=chroot`

// What builder chooses in pods.
var (
	nothing    = choices{Isolation: "none", Storage: "stacked", Mapping: "none: your own id alone", Network: "host"}
	inChroot   = choices{Isolation: "chroot", Storage: "vfs", Mapping: "none: root's own ids", Network: "host"}
	untold     = choices{Isolation: "none", Storage: "none", Mapping: "none", Network: "none"}
	maskedProc = choices{Isolation: "oci, without a pid namespace", Storage: "vfs", Mapping: "range", Network: "host"}
)

// On a disk of the node instead of the container's own overlay.
const emptyDir = " --empty-dir /store --env BUILDER_ROOT=/store/builder --env WORK=/store"

// pods are the manifests that users write, from the one that says nothing.
var pods = []struct {
	name  string
	flags string // pod.sh's
	want  want
}{
	{
		name: "uid 0",
		want: want{choices: untold, refused: withoutTelling(forbidden), doctor: 2, says: []string{toldChroot}},
	},
	{
		name: "uid 0, BUILDER_ISOLATION=chroot", flags: "--env BUILDER_ISOLATION=chroot",
		want: want{choices: inChroot, refused: withoutMounts, doctor: 1},
	},
	{
		name: "uid 0, capabilities dropped, BUILDER_ISOLATION=chroot", flags: "--drop --env BUILDER_ISOLATION=chroot",
		want: want{choices: nothing, refused: refusedWithout(`root of this container may not give files away.*SYS_CHROOT`), doctor: 2},
	},
	{
		name: "uid 0, SYS_ADMIN", flags: "--add SYS_ADMIN",
		want: want{choices: untold, refused: withoutTelling(toldChroot), doctor: 2},
	},
	{
		name: "uid 0, seccomp Unconfined, /dev/fuse", flags: "--unconfined --fuse",
		want: want{choices: untold, refused: withoutTelling(toldChroot), doctor: 2},
	},
	{
		name: "uid 1001", flags: "--uid 1001",
		want: want{choices: nothing, refused: withoutNamespace, doctor: 2, says: []string{`hostUsers: false`, `seccompProfile: \{type: Unconfined\}`}},
	},
	{
		name:  "uid 1001, restricted, read-only root, /tmp of 4 MiB, emptyDir",
		flags: "--uid 1001 --drop --no-new-privs --read-only --tmp 4m" + emptyDir,
		want:  want{choices: nothing, refused: withoutNamespace, doctor: 2},
	},
	{
		name: "uid 1001, seccomp Unconfined", flags: "--uid 1001 --unconfined",
		want: want{choices: maskedProc, doctor: 1, says: []string{`/dev/fuse`}},
	},
	{
		name: "uid 1001, seccomp Unconfined, emptyDir", flags: "--uid 1001 --unconfined" + emptyDir,
		want: want{choices: maskedProc.storage("overlay"), doctor: 1},
	},
	{
		name: "uid 1001, seccomp Unconfined, /dev/fuse, /dev/net/tun", flags: "--uid 1001 --unconfined --fuse --tun",
		want: want{choices: choices{"oci, without a pid namespace", "fuse-overlayfs", "range", "private"}, doctor: 1},
	},
	{
		name: "uid 1001, seccomp Unconfined, no new privileges", flags: "--uid 1001 --unconfined --no-new-privs --fuse",
		want: want{
			choices: choices{"oci, without a pid namespace", "fuse-overlayfs", "single", "host"},
			refused: withoutOwners, doctor: 1, says: []string{`allowPrivilegeEscalation: true`},
		},
	},
	{
		name: "hostUsers: false, uid 0", flags: "--host-users=false",
		want: want{choices: untold, refused: withoutTelling(toldChroot), doctor: 2},
	},
	{
		name: "hostUsers: false, uid 0, SYS_ADMIN, procMount Unmasked", flags: "--host-users=false --add SYS_ADMIN --unmasked",
		want: want{choices: choices{"oci", "vfs", "self", "host"}, doctor: 1},
	},
	{
		name:  "hostUsers: false, uid 0, seccomp Unconfined, procMount Unmasked, /dev/fuse, /dev/net/tun",
		flags: "--host-users=false --unconfined --unmasked --fuse --tun",
		want:  want{choices: choices{"oci", "fuse-overlayfs", "self", "private"}, doctor: 0},
	},
	{
		name:  "hostUsers: false, uid 1001, seccomp Unconfined, procMount Unmasked, emptyDir",
		flags: "--host-users=false --uid 1001 --unconfined --unmasked" + emptyDir,
		want:  want{choices: choices{"oci", "overlay", "range", "host"}, doctor: 1},
	},
	{
		name:  "hostUsers: false, uid 1001, seccomp Unconfined, procMount Unmasked, /dev/fuse, /dev/net/tun",
		flags: "--host-users=false --uid 1001 --unconfined --unmasked --fuse --tun",
		want:  want{choices: choices{"oci", "fuse-overlayfs", "range", "private"}, doctor: 0},
	},
}

func (c choices) storage(name string) choices {
	c.Storage = name
	return c
}

func TestPod(t *testing.T) {
	for _, pod := range pods {
		t.Run(pod.name, func(t *testing.T) {
			pod.want.expect(t, "pod: "+pod.name, script(t, 10*time.Minute, "pod.sh", podArgs(pod.flags)...))
		})
	}
}

// manifestLines are lines of a manifest that doctor gives, as flags of pod.sh.
var manifestLines = []struct{ line, flags string }{
	{`hostUsers: false`, "--host-users=false"},
	{`seccompProfile: {type: Unconfined}`, "--unconfined"},
	{`procMount: Unmasked`, "--unmasked"},
	{`value: /store/builder`, "--empty-dir /store --env BUILDER_ROOT=/store/builder"},
	{`fuse: 1}`, "--fuse"},
	{`give the pod /dev/net/tun`, "--tun"},
}

// Where a pod's manifest says nothing, doctor tells what to write into it. A pod of
// which that is done builds, and doctor has nothing more to ask for.
func TestPodMended(t *testing.T) {
	for _, user := range []string{"0", "1001"} {
		t.Run("uid "+user, func(t *testing.T) {
			flags := "--uid=" + user
			for range 3 { // what stands behind something else shows when that is mended
				said := parseResults(script(t, 10*time.Minute, "pod.sh", podArgs(flags)...)).doctor(t)
				if said.verdict() == 0 {
					break
				}
				for _, m := range manifestLines {
					if strings.Contains(strings.Join(said.Commands.Other, "\n"), m.line) && !strings.Contains(flags, m.flags) {
						flags += " " + m.flags
					}
				}
			}
			r := parseResults(script(t, 10*time.Minute, "pod.sh", podArgs(flags)...))
			if r["run"].code != 0 || r["owners"].code != 0 || r.doctor(t).verdict() != 0 {
				t.Errorf("with %s:\n%s\n%s\n%s", flags, r["run"].output, r["owners"].output, r["doctor"].output)
			}
			t.Logf("as doctor says: %s", flags)
		})
	}
}

//go:embed testdata/tinytmp.sh
var tinyTmp string

// A read-only root, and a /tmp that is smaller than any image.
func TestTinyTmp(t *testing.T) {
	flags := strings.Fields("--uid 1001 --host-users=false --unconfined --unmasked --read-only --tmp 4m" + emptyDir)
	flags = append(flags, "--mount", ground.base+":/img.tar", "--", "sh", "-c", tinyTmp+"\n")
	if said := script(t, 10*time.Minute, "pod.sh", flags...); !strings.HasSuffix(said, "all is well\n") {
		t.Error(said)
	}
}

// podArgs are pod.sh's for the probe in a pod of these flags.
func podArgs(flags string) []string {
	return append(strings.Fields(flags), "--mount", ground.base+":/img.tar", "--", "sh", "-c", probe)
}
