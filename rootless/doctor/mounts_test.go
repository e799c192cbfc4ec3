package doctor

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

func TestRefusalOfAnOverlayHasItsCauseAndRemedy(t *testing.T) {
	for _, tc := range []struct {
		name, disk, release string
		change              func(*facts)
		err                 error
		cause, remedy       string
	}{
		{"old kernel", "ext4", "5.10.0-28-amd64", func(*facts) {}, unix.EPERM, "5.11 is the first", "fuse-overlayfs"},
		{"tmpfs", "tmpfs", "6.1.0-13-amd64", func(*facts) {}, unix.EINVAL, "before Linux 6.6 has no user xattrs", "BUILDER_ROOT=/var/tmp"},
		{"overlay on overlay", "overlay", "6.12.1", func(f *facts) { f.container = "kubernetes" }, unix.EINVAL, "lies on overlay", "emptyDir"},
		{"network home", "nfs", "6.12.1", func(*facts) {}, unix.EINVAL, "lies on nfs", "a local disk"},
		{"SELinux", "xfs", "6.12.1", func(f *facts) { f.seLinuxLabel = "a:b:c:s0" }, unix.EACCES, "SELinux denies it to a:b:c:s0", "audit2allow"},
		{"unknown", "xfs", "6.12.1", func(*facts) {}, unix.EINVAL, "(xfs): invalid argument", "fuse-overlayfs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := permissive()
			tc.change(&f)
			check(t, explainOverlay(tc.err, Disk{Dir: "/store", Type: tc.disk}, tc.release, f), tc.cause, tc.remedy)
		})
	}
}

func TestRefusalOfFuseHasItsRemedy(t *testing.T) {
	f := permissive()
	check(t, explainFuseMount(unix.EPERM, f), "FUSE can't be mounted", "Linux 4.18")
	f.container = "docker"
	check(t, explainFuseMount(unix.EPERM, f), "FUSE can't be mounted", "--device /dev/fuse")
	f.seLinuxLabel = "system_u:system_r:container_t:s0"
	check(t, explainFuseMount(unix.EACCES, f), "FUSE can't be mounted", "label=disable")
}

func TestRemediesOfContainersAreThoseOfWhoStartsThem(t *testing.T) {
	pod := facts{container: "kubernetes"}
	for name, remedy := range map[string]string{
		"unmask": pod.unmask(), "fuse": pod.withFuse(), "store": pod.elsewhere(), "all": pod.unconfine(), "label": pod.unlabel(), "privileges": pod.newPrivileges(),
	} {
		if remedy == "" || remedy[:5] != "spec:" {
			t.Errorf("%s: %q isn't of a pod's manifest", name, remedy)
		}
	}
	for _, container := range []string{"docker", "podman", "kubernetes", "container"} {
		for _, ci := range []string{"", "github", "gitlab"} {
			f := facts{container: container, ci: ci}
			for _, remedy := range []string{f.unmask(), f.withFuse(), f.elsewhere(), f.unconfine(), f.unlabel(), f.newPrivileges()} {
				if remedy == "" {
					t.Errorf("something in %s, %s has no remedy", container, ci)
				}
			}
		}
	}
}

func TestDiskOfADirectoryToComeIsItsParents(t *testing.T) {
	dir := t.TempDir()
	there, toCome := DiskOf(dir), DiskOf(dir+"/a/b")
	if there.Type != toCome.Type || toCome.Size == 0 || toCome.Dir != dir+"/a/b" {
		t.Errorf("%+v, and of what isn't there %+v", there, toCome)
	}
}

func TestMachinesFaultsAreMarked(t *testing.T) {
	for _, err := range []error{
		Namespace(unix.EPERM), FuseMount(unix.EPERM), Overlay(unix.EPERM, "/"), Owners(unix.EPERM, "/"), Tun(unix.ENOENT),
		PIDNamespace("no fresh /proc can be mounted here"), Runtime("crun", errors.New("no")), Memory(1, 2, "here"),
	} {
		if !fault.OfMachine(err) || !errors.As(err, new(*fault.Error)) {
			t.Errorf("%v isn't marked as the machine's", err)
		}
	}
}
