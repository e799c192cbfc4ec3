package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// permissive are the facts of a machine that forbids nothing.
func permissive() facts {
	return facts{kernelHas: true, initial: true, maxUser: "15000", maxMount: "15000", exe: "/usr/bin/builder"}
}

func TestRefusalOfANamespaceHasItsCauseAndRemedy(t *testing.T) {
	for _, tc := range []struct {
		name          string
		err           error
		change        func(*facts)
		cause, remedy string
	}{
		{"no support", unix.EINVAL, func(f *facts) { f.kernelHas = false }, "this kernel has none", "CONFIG_USER_NS=y"},
		{"limit zero", unix.ENOSPC, func(f *facts) { f.maxUser = "0" }, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000"},
		{"mount limit zero", unix.ENOSPC, func(f *facts) { f.maxMount = "0" }, "user.max_mnt_namespaces is 0", "sysctl -w user.max_mnt_namespaces=15000"},
		{"limit reached", unix.ENOSPC, func(f *facts) { f.maxUser = "3" }, "is 3 here", "sysctl -w user.max_user_namespaces=15000"},
		{"too many processes", unix.EAGAIN, func(*facts) {}, "too many processes", "ulimit -u"},
		{"Debian's switch", unix.EPERM, func(f *facts) { f.unprivilegedClone = "0" }, "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"chroot", unix.EPERM, func(f *facts) { f.chroot = true }, "in a chroot", "outside of the chroot"},
		{"docker", unix.EPERM, func(f *facts) { f.seccomp, f.container = true, "docker" }, "seccomp filter of this container", "docker run --security-opt seccomp=unconfined"},
		{"pod", unix.EPERM, func(f *facts) { f.seccomp, f.container = true, "kubernetes" }, "seccomp filter of this container", "seccompProfile: {type: Unconfined}"},
		{"docker's AppArmor profile", unix.EACCES, func(f *facts) { f.appArmorLabel, f.container = "docker-default (enforce)", "docker" }, `"docker-default (enforce)" of this container`, "apparmor=unconfined"},
		{"docker on Ubuntu", unix.EPERM, func(f *facts) { f.seccomp, f.container, f.apparmorRestricts = true, "docker", "1" }, "seccomp filter of this container", "seccomp=unconfined"},
		{"Ubuntu", unix.EPERM, func(f *facts) { f.apparmorRestricts = "1" }, "kernel.apparmor_restrict_unprivileged_userns is 1", "profile builder /usr/bin/builder flags=(unconfined)"},
		{"Ubuntu, the other way", unix.EACCES, func(f *facts) { f.apparmorRestricts = "1" }, "AppArmor", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"Ubuntu, from inside", unix.EPERM, func(f *facts) {
			f.initial, f.apparmorRestricts, f.appArmorLabel = false, "1", "unprivileged_userns (enforce)"
		}, "kernel.apparmor_restrict_unprivileged_userns is 1", "profile builder /usr/bin/builder flags=(unconfined)"},
		{"pod of GitLab's runner", unix.EPERM, func(f *facts) { f.seccomp, f.container, f.ci = true, "kubernetes", "gitlab" }, "seccomp filter of this container", `seccomp_profile_type = "Unconfined"`},
		{"job's container at GitHub", unix.EPERM, func(f *facts) { f.seccomp, f.container, f.ci = true, "docker", "github" }, "seccomp filter of this container", "options: --security-opt seccomp=unconfined"},
		{"job of GitLab's by docker", unix.EPERM, func(f *facts) { f.seccomp, f.container, f.ci = true, "docker", "gitlab" }, "seccomp filter of this container", `security_opt = ["seccomp:unconfined"`},
		{"GitHub's machine", unix.EPERM, func(f *facts) { f.apparmorRestricts, f.ci = "1", "github" }, "AppArmor", "profile builder"},
		{"pod as a whole", unix.EPERM, func(f *facts) { f.seccomp, f.container = true, "kubernetes" }, "seccomp filter of this container", "hostUsers: false"},
		{"SELinux", unix.EACCES, func(f *facts) { f.seLinuxLabel = "user_u:user_r:user_t:s0" }, "SELinux denies them to user_u:user_r:user_t:s0", "audit2allow"},
		{"SELinux around a container", unix.EACCES, func(f *facts) { f.seLinuxLabel, f.container = "system_u:system_r:container_t:s0", "podman" }, "SELinux denies", "label=disable"},
		{"WSL 1", unix.EINVAL, func(f *facts) { f.wsl, f.kernelHas = 1, false }, "WSL 1 has no Linux kernel", "wsl --set-version"},
		{"filter of a service", unix.EPERM, func(f *facts) { f.seccomp = true }, "a seccomp filter on this process", "SystemCallFilter"},
		{"profile of a program", unix.EACCES, func(f *facts) { f.appArmorLabel = "ci-runner (enforce)" }, `"ci-runner (enforce)" confines`, "aa-disable ci-runner"},
		{"unknown", unix.EPERM, func(*facts) {}, "making a user namespace: operation not permitted", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := permissive()
			tc.change(&f)
			check(t, explainNamespace(tc.err, f), tc.cause, tc.remedy)
			if !errors.Is(explainNamespace(tc.err, f), tc.err) {
				t.Error("the kernel's errno can't be found any more")
			}
			if said := explainNamespace(tc.err, f).Error(); strings.Contains(said, "no space left") {
				t.Errorf("%q speaks of a device", said)
			}
		})
	}
}

func check(t *testing.T, err *fault.Error, cause, remedy string) {
	t.Helper()
	if !strings.Contains(err.Error(), cause) {
		t.Errorf("cause %q lacks %q", err, cause)
	}
	if !strings.Contains(err.Remedy, remedy) || (remedy == "") != (err.Remedy == "") {
		t.Errorf("remedy %q lacks %q", err.Remedy, remedy)
	}
}

func TestRefusalOfAMappingHasItsCauseAndRemedy(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, tc := range []struct {
		name, output  string
		change        func(*facts)
		cause, remedy string
	}{
		{"foreign range", "newuidmap: uid range [1-65537) -> [200000-265536) not allowed", func(*facts) {}, "refuses the ranges read from /etc/subuid", "getsubids"},
		{"overlap", "newuidmap: write to uid_map failed: Invalid argument", func(*facts) {}, "the kernel refuses the ranges of /etc/subuid", "don't overlap"},
		{"enclosing namespace", "newuidmap: write to uid_map failed: Operation not permitted", func(f *facts) { f.initial = false }, "aren't all mapped", "/proc/self/uid_map"},
		{"set-user-ID in a container", "newuidmap: write to uid_map failed: Operation not permitted", func(f *facts) { f.container, f.setuidTool = "kubernetes", true }, "isn't enough in a container", "setcap cap_setuid+ep /usr/bin/newuidmap"},
		{"Ubuntu", "newuidmap: write to uid_map failed: Operation not permitted", func(f *facts) { f.apparmorRestricts = "1" }, "AppArmor restricts", "profile builder"},
		{"silent", "", func(*facts) {}, "mapping ids by newuidmap: exit status 1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := permissive()
			tc.change(&f)
			check(t, explainMapping("newuidmap", failed, tc.output, f), tc.cause, tc.remedy)
		})
	}
}

func TestRemediesAreForTheUserOutside(t *testing.T) {
	for uid, want := range map[string]string{"1000": "sudo modprobe fuse", "0": "modprobe fuse"} {
		t.Setenv("_CONTAINERS_ROOTLESS_UID", uid)
		if got := asRoot("modprobe fuse"); got != want {
			t.Errorf("for uid %s: %q, want %q", uid, got, want)
		}
	}
}

func TestProgramWithoutPrivilegeIsTold(t *testing.T) {
	program := filepath.Join(t.TempDir(), "newuidmap")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := lendsPrivilege(program)
	if err == nil || !strings.Contains(err.Error(), "neither the set-user-ID bit of root nor file capabilities") ||
		!strings.Contains(fault.Remedy(err), "chmod 4755 "+program) {
		t.Errorf("%v; remedy %q", err, fault.Remedy(err))
	}
}

func TestMissingProgramIsTold(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := lookPath("no-such-program"); err == nil {
		t.Error("found")
	}
	if got := Install("newuidmap"); got != "install newuidmap" {
		t.Errorf("with no package manager in sight: %q", got)
	}
}

func TestInstallNamesThePackage(t *testing.T) {
	t.Setenv("_CONTAINERS_ROOTLESS_UID", "1000")
	for manager, want := range map[string]string{
		"apt-get": "sudo apt-get install -y uidmap",
		"dnf":     "sudo dnf install -y shadow-utils",
		"apk":     "sudo apk add shadow-subids",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manager), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		if got := Install("newuidmap"); got != want {
			t.Errorf("%s: %q, want %q", manager, got, want)
		}
	}
}

func TestFuseDeviceThatIsMissingOrShut(t *testing.T) {
	if in := container(); in != "" {
		t.Skipf("in a container (%s) the remedy is another one", in)
	}
	missing := filepath.Join(t.TempDir(), "fuse")
	err := fuseDevice(missing)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fault.Remedy(err), "modprobe fuse") {
		t.Errorf("missing: %v; remedy %q", err, fault.Remedy(err))
	}
	if os.Geteuid() == 0 {
		t.Skip("root opens what has mode 0: run this as an ordinary user")
	}
	if err := os.WriteFile(missing, nil, 0); err != nil {
		t.Fatal(err)
	}
	err = fuseDevice(missing)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(fault.Remedy(err), "chmod 0666 "+missing) {
		t.Errorf("shut: %v; remedy %q", err, fault.Remedy(err))
	}
}
