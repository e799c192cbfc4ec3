package places

import (
	"strings"
	"testing"
	"time"
)

// pods are the manifests that users write, from the one that says nothing.
var pods = []struct {
	name  string
	flags string // pod.sh's
	want  want
}{
	{name: "uid 0"},
	{name: "uid 1001", flags: "--uid 1001"},
	{name: "uid 1001, restricted, read-only root, /tmp of 4 MiB", flags: "--uid 1001 --drop --no-new-privs --read-only --tmp 4m --empty-dir /store --env BUILDER_ROOT=/store/builder --env WORK=/store"},
	{name: "uid 1001, seccomp Unconfined", flags: "--uid 1001 --unconfined"},
	{name: "uid 1001, seccomp Unconfined, /dev/fuse", flags: "--uid 1001 --unconfined --fuse"},
	{name: "uid 1001, seccomp Unconfined, /dev/fuse, no new privileges", flags: "--uid 1001 --unconfined --fuse --no-new-privs"},
	{name: "uid 0, seccomp Unconfined, /dev/fuse", flags: "--unconfined --fuse"},
	{name: "uid 0, all capabilities dropped", flags: "--drop"},
	{name: "uid 0, SYS_ADMIN", flags: "--add SYS_ADMIN"},
	{name: "hostUsers: false, uid 0", flags: "--host-users=false"},
	{name: "hostUsers: false, uid 0, SYS_ADMIN, procMount Unmasked", flags: "--host-users=false --add SYS_ADMIN --unmasked"},
	{name: "hostUsers: false, uid 0, seccomp Unconfined, procMount Unmasked, /dev/fuse", flags: "--host-users=false --unconfined --unmasked --fuse"},
	{name: "hostUsers: false, uid 1001, seccomp Unconfined, procMount Unmasked, /dev/fuse", flags: "--host-users=false --uid 1001 --unconfined --unmasked --fuse"},
}

func TestPod(t *testing.T) {
	for _, pod := range pods {
		t.Run(pod.name, func(t *testing.T) {
			flags := append(strings.Fields(pod.flags), "--mount", ground.base+":/img.tar", "--", "sh", "-c", probe)
			pod.want.expect(t, "pod: "+pod.name, script(t, 10*time.Minute, "pod.sh", flags...))
		})
	}
}
