package doctor

import (
	"strings"
	"testing"
)

func TestPlaceIsRecognised(t *testing.T) {
	in := func(env map[string]string, files ...string) marks {
		return marks{
			env:    func(name string) string { return env[name] },
			exists: func(path string) bool { return strings.Contains(strings.Join(files, "\n"), path) },
		}
	}
	kubepods := in(nil)
	kubepods.cgroups = "0::/kubepods.slice/kubepods-burstable.slice\n"
	for want, m := range map[string]marks{
		"":          in(nil),
		"docker":    in(nil, "/.dockerenv"),
		"podman":    in(map[string]string{"container": "oci"}, "/run/.containerenv"),
		"container": in(map[string]string{"container": "lxc"}),
	} {
		if got := m.container(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for i, m := range []marks{
		in(map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "/.dockerenv"),
		in(nil, "/var/run/secrets/kubernetes.io/serviceaccount"),
		kubepods,
	} {
		if got := m.container(); got != "kubernetes" {
			t.Errorf("pod %d: %q", i, got)
		}
	}
}

func TestRunnerIsRecognised(t *testing.T) {
	for variable, want := range map[string]string{"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab", "CI": ""} {
		got := runner(func(name string) string {
			if name == variable {
				return "true"
			}
			return ""
		})
		if got != want {
			t.Errorf("%s: %q, want %q", variable, got, want)
		}
	}
}

func TestWindowsSubsystemIsRecognised(t *testing.T) {
	for release, want := range map[string]int{
		"5.15.153.1-microsoft-standard-WSL2": 2,
		"4.4.0-19041-Microsoft":              1,
		"6.1.0-13-amd64":                     0,
	} {
		if got := wslVersion(release); got != want {
			t.Errorf("%s: %d, want %d", release, got, want)
		}
	}
}

func TestDistributionIsNamed(t *testing.T) {
	if got := distribution("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"); got != "Debian GNU/Linux 13 (trixie)" {
		t.Errorf("%q", got)
	}
}

func TestPlaceIsDescribed(t *testing.T) {
	p := Place{OS: "Ubuntu 24.04", Kernel: "6.8.0", CI: "github", Container: "docker", WSL: 2, SELinux: "x"}
	want := "Ubuntu 24.04, kernel 6.8.0, WSL 2, a runner of GitHub's, a container of docker's, SELinux enforced"
	if p.String() != want {
		t.Errorf("%q, want %q", p, want)
	}
}
