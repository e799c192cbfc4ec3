package doctor

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Place is what kind of machine this is, as far as remedies differ by it.
type Place struct {
	OS        string `json:"os"` // the distribution, in its own words
	Kernel    string `json:"kernel"`
	Container string `json:"container,omitempty"` // "docker", "podman", "kubernetes" or "container"
	CI        string `json:"ci,omitempty"`        // "github" or "gitlab"
	WSL       int    `json:"wsl,omitempty"`       // the version of Windows' subsystem
	SELinux   string `json:"selinux,omitempty"`   // the process's label, where SELinux is enforced
	AppArmor  string `json:"apparmor,omitempty"`  // the process's profile, where AppArmor is on
	Seccomp   bool   `json:"seccomp,omitempty"`   // a filter is on this process
	Chroot    bool   `json:"chroot,omitempty"`
	Root      bool   `json:"root,omitempty"` // the caller is root
}

// Here looks what kind of machine this is.
func Here() Place {
	f := examine()
	return Place{
		OS: distribution(content("/etc/os-release")), Kernel: kernel(), Container: f.container, CI: f.ci, WSL: f.wsl,
		SELinux: f.seLinuxLabel, AppArmor: f.appArmorLabel, Seccomp: f.seccomp, Chroot: f.chroot, Root: caller() == 0,
	}
}

// String describes the place in a line.
func (p Place) String() string {
	parts := []string{"Linux"}
	if p.OS != "" {
		parts[0] = p.OS
	}
	parts = append(parts, "kernel "+p.Kernel)
	if p.WSL > 0 {
		parts = append(parts, "WSL "+string(rune('0'+p.WSL)))
	}
	if name := map[string]string{"github": "a runner of GitHub's", "gitlab": "a runner of GitLab's"}[p.CI]; name != "" {
		parts = append(parts, name)
	}
	if name := map[string]string{
		"docker": "a container of docker's", "podman": "a container of podman's",
		"kubernetes": "a pod of Kubernetes'", "container": "a container",
	}[p.Container]; name != "" {
		parts = append(parts, name)
	}
	if p.Chroot {
		parts = append(parts, "a chroot")
	}
	if p.SELinux != "" {
		parts = append(parts, "SELinux enforced")
	}
	return strings.Join(parts, ", ")
}

// distribution reads os-release(5).
func distribution(text string) string {
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// wslVersion reads which of Windows' subsystems has made the kernel's
// release: 1 translates system calls, 2 is a virtual machine.
func wslVersion(release string) int {
	switch {
	case strings.Contains(release, "WSL2"), strings.Contains(release, "microsoft-standard"):
		return 2
	case strings.HasSuffix(release, "-Microsoft"):
		return 1
	}
	return 0
}

// runner tells whose job this process is part of.
func runner(env func(string) string) string {
	switch {
	case env("GITHUB_ACTIONS") == "true":
		return "github"
	case env("GITLAB_CI") != "":
		return "gitlab"
	}
	return ""
}

// seLinux gives the process's label where SELinux is enforced, else "".
func seLinux() string {
	if content("/sys/fs/selinux/enforce") != "1" {
		return ""
	}
	return strings.TrimRight(content("/proc/self/attr/current"), "\x00")
}

// marks are what container engines leave where their containers can see it.
type marks struct {
	env     func(string) string
	exists  func(path string) bool
	cgroups string // of /proc/self/cgroup and mountinfo
}

// container reads them. An engine that is asked for a pod's container leaves its
// own mark as well.
func (m marks) container() string {
	switch {
	case m.env("KUBERNETES_SERVICE_HOST") != "",
		m.exists("/var/run/secrets/kubernetes.io/serviceaccount"),
		strings.Contains(m.cgroups, "kubepods"):
		return "kubernetes"
	case m.exists("/.dockerenv"):
		return "docker"
	case m.exists("/run/.containerenv"):
		return "podman"
	case m.env("container") != "":
		return "container"
	}
	return ""
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }
