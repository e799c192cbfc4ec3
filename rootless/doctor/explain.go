package doctor

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// explainNamespace finds the cause of a refusal among the facts: first what
// the kernel's errno proves, then what is known to forbid, nearest first.
func explainNamespace(err error, f facts) *fault.Error {
	because := func(remedy, format string, args ...any) *fault.Error {
		return fault.Machine(remedy, "user namespaces are forbidden: %s: %w", fmt.Sprintf(format, args...), err)
	}
	// limited leaves out the errno, which for a limit speaks of a device without space.
	limited := func(sysctl, format string, args ...any) *fault.Error {
		known := because(setSysctl(sysctl, "15000"), format, args...)
		known.Err = unsaid{known.Err, ": " + err.Error()}
		return known
	}
	switch {
	case f.wsl == 1:
		return because("wsl --set-version DISTRIBUTION 2    # in Windows' PowerShell; wsl --list tells the names", "WSL 1 has no Linux kernel, which WSL 2 has")
	case !f.kernelHas:
		return because("boot a kernel built with CONFIG_USER_NS=y", "this kernel has none")
	case f.maxUser == "0":
		return limited("user.max_user_namespaces", "the sysctl user.max_user_namespaces is 0")
	case f.maxMount == "0":
		return limited("user.max_mnt_namespaces", "the sysctl user.max_mnt_namespaces is 0")
	case errors.Is(err, unix.EAGAIN):
		return fault.Machine("end other processes, or raise the limit that `ulimit -u` shows", "making a user namespace: too many processes: %w", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return limited("user.max_user_namespaces",
			"the limit is reached (user.max_user_namespaces is %s here, or less in an enclosing namespace, or 32 are nested)", f.maxUser)
	case f.unprivilegedClone == "0" && !f.root:
		return because(setSysctl("kernel.unprivileged_userns_clone", "1"), "the sysctl kernel.unprivileged_userns_clone is 0")
	case f.chroot:
		return because("run builder outside of the chroot", "this process is in a chroot, where the kernel permits none")
	case f.container != "" && (f.seccomp || f.confined()):
		return because(f.unconfine(), "%s of this container denies them", f.denier())
	case f.seLinuxLabel != "" && errors.Is(err, unix.EACCES):
		return because(f.unlabel(), "SELinux denies them to %s", f.seLinuxLabel)
	case f.apparmorRestricts == "1" && !f.root:
		return because(appArmorRemedy(f.exe), "AppArmor permits them only to programs with a profile (the sysctl kernel.apparmor_restrict_unprivileged_userns is 1)")
	case f.seccomp:
		return because(seccompRemedy, "a seccomp filter on this process denies them")
	case f.confined():
		return because(disable(strings.Fields(f.appArmorLabel)[0]), "the AppArmor profile %q confines this process", f.appArmorLabel)
	}
	return fault.Machine("", "making a user namespace: %w", err)
}

// unsaid is an error whose words don't end with those of its cause.
type unsaid struct {
	error
	ending string
}

func (u unsaid) Error() string { return strings.TrimSuffix(u.error.Error(), u.ending) }
func (u unsaid) Unwrap() error { return u.error }

// explainMapping is for when both tools are there and have their privilege.
func explainMapping(tool string, err error, output string, f facts) *fault.Error {
	if output == "" {
		output = err.Error()
	}
	file := map[string]string{"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"}[tool]
	switch {
	case strings.Contains(output, "not allowed"):
		return fault.Machine(fmt.Sprintf("%s\ncompare with %s", asRoot("cat "+file), "getsubids $(id -un)"),
			"%s refuses the ranges read from %s: %s", tool, file, output)
	case strings.Contains(output, "Invalid argument"):
		return fault.Machine("see that the ranges in "+file+" don't overlap", "the kernel refuses the ranges of %s: %s", file, output)
	case f.container != "" && f.setuidTool && strings.Contains(output, "Operation not permitted"):
		return fault.Machine(fileCapabilities, "%s has the set-user-ID bit, which isn't enough in a container, and no file capability: %s", tool, output)
	case !f.initial:
		return fault.Machine("give "+file+" ranges that /proc/self/uid_map and gid_map contain",
			"the ranges of %s aren't all mapped in the user namespace that builder runs in: %s", file, output)
	case f.apparmorRestricts == "1" && !f.root:
		return fault.Machine(appArmorRemedy(f.exe), "%s failed, and AppArmor restricts user namespaces (the sysctl kernel.apparmor_restrict_unprivileged_userns is 1): %s", tool, output)
	}
	return fault.Machine("", "mapping ids by %s: %s", tool, output)
}

// denier names what of the container's confinement is in force.
func (f facts) denier() string {
	if f.seccomp {
		return "the seccomp filter"
	}
	return fmt.Sprintf("the AppArmor profile %q", f.appArmorLabel)
}

// disable has an AppArmor profile unloaded, by a tool that a system doesn't come with.
// To have it complain wouldn't do: Linux 6.12 refuses namespaces all the same.
func disable(profile string) string {
	remedy := asRoot("aa-disable "+profile) + `    # or give the profile the rule "userns,"`
	if _, err := lookPath("aa-disable"); err != nil {
		return Install("aa-disable") + "\n" + remedy
	}
	return remedy
}

// appArmorRemedy gives both ways out: a profile for this binary alone, or the
// restriction lifted for all.
func appArmorRemedy(exe string) string {
	profile := fmt.Sprintf(`abi <abi/4.0>,
include <tunables/global>
profile builder %s flags=(unconfined) {
  userns,
}`, exe)
	return asRoot("tee /etc/apparmor.d/builder") + " <<'EOF'\n" + profile + "\nEOF\n" +
		asRoot("apparmor_parser -r /etc/apparmor.d/builder") +
		"\n# or, for every program:\n" + setSysctl("kernel.apparmor_restrict_unprivileged_userns", "0")
}
