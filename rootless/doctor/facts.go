package doctor

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// facts are what forbids user namespaces on the machines that are known to
// forbid them. Sysctls that this kernel lacks are "".
type facts struct {
	root              bool   // the caller is the machine's root
	kernelHas         bool   // built with CONFIG_USER_NS
	initial           bool   // the process is in the initial user namespace
	maxUser           string // user.max_user_namespaces
	maxMount          string // user.max_mnt_namespaces
	unprivilegedClone string // kernel.unprivileged_userns_clone: Debian's patch
	apparmorRestricts string // kernel.apparmor_restrict_unprivileged_userns: Ubuntu's
	appArmorLabel     string // the process's own profile
	seccomp           bool   // a filter is on this process
	chroot            bool
	container         string // "docker", "podman", "kubernetes", "container", or ""
	ci                string // "github", "gitlab", or ""
	wsl               int    // the version of Windows' subsystem, or 0
	seLinuxLabel      string // the process's label where SELinux is enforced
	setuidTool        bool   // the program that maps ids has its privilege by set-user-ID alone
	exe               string // this program's path
}

// The initial namespaces, as the kernel numbers them (PROC_USER_INIT_INO and
// its neighbours).
const (
	initialUserNamespace = "user:[4026531837]"
	initialUTSNamespace  = "uts:[4026531838]"
	initialIPCNamespace  = "ipc:[4026531839]"
)

// InitialNamespace tells whether this process is in the machine's initial
// user namespace, where uid 0 is the real root.
func InitialNamespace() bool {
	link, err := os.Readlink("/proc/self/ns/user")
	return err != nil || link == initialUserNamespace
}

// caller gives the uid of the user whose shell will get a remedy. Inside
// builder's namespace, where everyone is root, the environment tells it.
func caller() int {
	if uid, err := strconv.Atoi(os.Getenv("_CONTAINERS_ROOTLESS_UID")); err == nil {
		return uid
	}
	return os.Geteuid()
}

func examine() facts {
	initial := InitialNamespace()
	_, err := os.Lstat("/proc/self/ns/user")
	exe, _ := os.Executable() // empty only where /proc is missing, which fails before
	return facts{
		root:              initial && os.Geteuid() == 0,
		kernelHas:         err == nil,
		initial:           initial,
		maxUser:           content("/proc/sys/user/max_user_namespaces"),
		maxMount:          content("/proc/sys/user/max_mnt_namespaces"),
		unprivilegedClone: content("/proc/sys/kernel/unprivileged_userns_clone"),
		apparmorRestricts: content("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
		appArmorLabel:     content("/proc/self/attr/apparmor/current"),
		seccomp:           status("Seccomp") == "2",
		chroot:            inChroot(),
		container:         container(),
		ci:                runner(os.Getenv),
		wsl:               wslVersion(kernel()),
		seLinuxLabel:      seLinux(),
		exe:               exe,
	}
}

// confined tells whether an AppArmor profile other than "unconfined" is
// enforced on the process.
func (f facts) confined() bool { return strings.HasSuffix(f.appArmorLabel, "(enforce)") }

func noNewPrivs() bool { return status("NoNewPrivs") == "1" }

// content gives a small file without its newline, "" where it can't be read.
func content(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// status gives a field of /proc/self/status.
func status(field string) string {
	for line := range strings.Lines(content("/proc/self/status")) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// container tells what kind of container this process is in, by the marks
// that the engines leave. They also stay in virtual machines made from
// container images, which have the initial namespaces.
func container() string {
	uts, _ := os.Readlink("/proc/self/ns/uts")
	ipc, _ := os.Readlink("/proc/self/ns/ipc")
	if uts == initialUTSNamespace && ipc == initialIPCNamespace {
		return ""
	}
	return marks{os.Getenv, exists, content("/proc/self/cgroup") + content("/proc/self/mountinfo")}.container()
}

// inChroot tells whether the root directory is a mere directory of a file
// system: then no mount point "/" is listed among the mounts in sight.
func inChroot() bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && fields[4] == "/" {
			return false
		}
	}
	return lines.Err() == nil
}
