// Package doctor finds out why this machine refuses what builder needs of it
// — user namespaces, id mapping, FUSE — and names the command that mends it.
//
// It only reads: sysctls, /proc and file modes; of fuse-overlayfs it asks the version
// besides. Its functions are called when
// something has failed or must be chosen, never on the way of a cached build. What
// they say is said alike by the command that fails and by the one that examines the
// machine: package checks tries, this one explains.
package doctor

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// Namespace explains err, the kernel's refusal to make a user namespace, or to
// let its root do what root may: it is called on both sides. The result is a
// *fault.Error.
func Namespace(err error) error {
	known := explainNamespace(err, examine())
	known.Remedy = OrChroot(known.Remedy)
	return known
}

// OrChroot adds to a remedy what root in a container can do without a user
// namespace.
func OrChroot(remedy string) string {
	if caller() != 0 || container() == "" {
		return remedy
	}
	return strings.TrimSpace(remedy + byChroot)
}

const byChroot = "\nor export BUILDER_ISOLATION=chroot    # for root in a container: chroot alone keeps RUNs apart"

// WithoutChroot takes from a remedy what OrChroot adds, for who does so already.
func WithoutChroot(remedy string) string { return strings.TrimSuffix(remedy, byChroot) }

// Mapping explains err, a failed attempt of tool ("newuidmap", "newgidmap") to
// write an id mapping; output is what tool printed. The result is a
// *fault.Error.
func Mapping(tool string, err error, output string) error {
	if _, missing := IDMapTools(); missing != nil {
		return missing
	}
	f := examine()
	if path, err := lookPath(tool); err == nil {
		_, err := unix.Getxattr(path, capabilityAttr, nil)
		f.setuidTool = err != nil
	}
	return explainMapping(tool, err, strings.TrimSpace(output), f)
}

// Tools are the programs that write an id mapping on behalf of an ordinary
// user.
type Tools struct {
	NewUIDMap, NewGIDMap string // absolute paths
}

// IDMapTools finds newuidmap and newgidmap. The error, a *fault.Error, says
// that one isn't installed, or has no privilege to lend.
func IDMapTools() (Tools, error) {
	var t Tools
	for _, tool := range []struct {
		name string
		path *string
	}{{"newuidmap", &t.NewUIDMap}, {"newgidmap", &t.NewGIDMap}} {
		found, err := lookPath(tool.name)
		if err != nil {
			return Tools{}, fault.Machine(Install(tool.name), "%s is not installed", tool.name)
		}
		*tool.path = found
	}
	if noNewPrivs() {
		return t, fault.Machine(examine().newPrivileges(), "no_new_privs is set for this process, so newuidmap can't gain the privilege to map ids")
	}
	for _, path := range []string{t.NewUIDMap, t.NewGIDMap} {
		if err := lendsPrivilege(path); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Fuse gives the path of fuse-overlayfs where it can be used. Otherwise the
// error, a *fault.Error, says whether /dev/fuse or the program is missing, or that
// the program doesn't run, which takes some 2 ms to find out.
func Fuse() (string, error) {
	if err := fuseDevice("/dev/fuse"); err != nil {
		return "", err
	}
	path, err := lookPath("fuse-overlayfs")
	if err != nil {
		return "", fault.Machine(Install("fuse-overlayfs"), "fuse-overlayfs is not installed")
	}
	return path, fuseRuns(path)
}

func fuseDevice(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		return unix.Close(fd)
	}
	f := examine()
	switch {
	case errors.Is(err, unix.EACCES):
		return fault.Machine(asRoot("chmod 0666 "+path), "%s is not accessible: %w", path, err)
	case f.container != "":
		return fault.Machine(f.withFuse(), "%s can't be opened in this container: %w", path, err)
	default:
		return fault.Machine(asRoot("modprobe fuse"), "%s can't be opened: %w", path, err)
	}
}

// lookPath finds name in PATH, and where distributions put what PATH of an
// unprivileged service may lack.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// capabilityAttr holds a file's capabilities: capabilities(7).
const capabilityAttr = "security.capability"

// lendsPrivilege tells whether an ordinary user who executes path becomes
// able to write a mapping: by set-user-ID root or by file capabilities, on a
// file system where they count.
func lendsPrivilege(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fault.Machine("", "looking at %s: %w", path, err)
	}
	setuid := st.Mode&unix.S_ISUID != 0 && st.Uid == 0
	_, err := unix.Getxattr(path, capabilityAttr, nil)
	if !setuid && err != nil {
		return fault.Machine(asRoot("chown root:root "+path, "chmod 4755 "+path),
			"%s has neither the set-user-ID bit of root nor file capabilities, so it can't map ids", path)
	}
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return fault.Machine(asRoot("mount -o remount,suid "+mountPoint(path)),
			"%s lies on a file system mounted nosuid, so it can't map ids", path)
	}
	return nil
}

// mountPoint gives the mount point of the file system that path lies on.
func mountPoint(path string) string {
	out, err := exec.Command("df", "--output=target", path).Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) < 2 {
		return "/usr"
	}
	return lines[len(lines)-1]
}

// asRoot gives commands for a shell, one a line, to be run as root.
func asRoot(commands ...string) string {
	if caller() == 0 {
		return strings.Join(commands, "\n")
	}
	return "sudo " + strings.Join(commands, "\nsudo ")
}

// setSysctl gives the commands that set a sysctl now and after each boot.
func setSysctl(name, value string) string {
	file := fmt.Sprintf("/etc/sysctl.d/99-%s.conf", strings.ReplaceAll(name, ".", "-"))
	return asRoot(fmt.Sprintf("sysctl -w %s=%s", name, value)) +
		fmt.Sprintf("\necho %s=%s | %s   # to keep it after a reboot", name, value, asRoot("tee "+file))
}
