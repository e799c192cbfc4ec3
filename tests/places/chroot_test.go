package places

import (
	_ "embed"
	"regexp"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/chroot.sh
var byChroot string

// TestLayersByChrootAlone builds the same in a pod without any namespace and in one with
// all of them, and looks what is refused in the first.
func TestLayersByChrootAlone(t *testing.T) {
	build := func(flags string) string {
		args := append(strings.Fields(flags), "--mount", ground.base+":/img.tar", "--", "sh", "-c", byChroot)
		return script(t, 10*time.Minute, "pod.sh", args...)
	}
	plain := build("--env ISOLATION=chroot")
	best := build("--host-users=false --unconfined --unmasked --fuse --env ISOLATION=oci --env BUILDER_STORAGE_DRIVER=vfs")
	layers := regexp.MustCompile(`(?m)^layer .*\n`)
	got, wanted := layers.FindAllString(plain, -1), layers.FindAllString(best, -1)
	if len(wanted) < 8 || strings.Join(got, "") != strings.Join(wanted, "") {
		t.Errorf("by chroot:\n%s\nby a runtime:\n%s", plain, best)
	}
	if left := regexp.MustCompile(`(?m)^left .*`).FindAllString(plain, -1); left != nil {
		t.Errorf("left behind: %s", left)
	}
	results := parseResults(plain)
	for name, want := range map[string]struct {
		code  int
		words string
	}{
		"network":    {125, `can't give the command a network of its own(?s).*use --network host`},
		"insecure":   {125, `the privileges of security=insecure`},
		"volume":     {125, `the directory /tmp at /x(?s).*RUN --mount=type=bind`},
		"sized":      {125, `a tmpfs at /x that is read-only or has a size`},
		"read-only":  {125, `has written to /x, which is mounted read-only`},
		"shm-size":   {125, `a size for /dev/shm`},
		"capability": {125, `the capability CAP_SYS_ADMIN, which builder lacks itself`},
		"seccomp":    {125, `a seccomp profile(?s).*no-new-privileges`},
		"code":       {7, `exit code 7`},
		"signal":     {137, `killed by signal 9`},
		"nothing":    {127, `"/no/such" can't be run`},
		"container":  {125, `containers need a mount namespace`},
	} {
		r := results[name]
		if r.code != want.code || !regexp.MustCompile(want.words).MatchString(r.output) {
			t.Errorf("%s: code %d, want %d and %q:\n%s", name, r.code, want.code, want.words, r.output)
		}
	}
}
