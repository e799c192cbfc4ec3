package doctor

import (
	"slices"
	"strings"
	"testing"
)

func TestRemediesAreSortedByWhoMends(t *testing.T) {
	t.Setenv("_CONTAINERS_ROOTLESS_UID", "1000")
	s := ScriptOf(
		"sudo apt-get install -y uidmap",
		"sudo apt-get install -y passt    # or slirp4netns\nor use --network host",
		"sudo apt-get install -y uidmap",
		setSysctl("user.max_user_namespaces", "15000"),
		appArmorRemedy("/usr/bin/builder"),
		podRemedy,
		"docker run --device /dev/fuse …",
		"export BUILDER_ROOT=/var/tmp/builder-$(id -un)    # or another",
		"uname -r    # only looks",
		"",
	)
	wantRoot := []string{
		"sudo apt-get install -y uidmap passt",
		"sudo sysctl -w user.max_user_namespaces=15000",
	}
	if !slices.Equal(s.Root[:2], wantRoot) {
		t.Errorf("root: %q, want %q first", s.Root, wantRoot)
	}
	all := strings.Join(s.Root, "\n")
	for _, want := range []string{"| sudo tee /etc/sysctl.d", "  userns,\n}\nEOF", "apparmor_parser -r"} {
		if !strings.Contains(all, want) {
			t.Errorf("root's lines lack %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "apparmor_restrict_unprivileged_userns=0") {
		t.Error("both ways out are taken")
	}
	if len(s.User) != 1 || !strings.HasPrefix(s.User[0], "export BUILDER_ROOT=") {
		t.Errorf("user: %q", s.User)
	}
	if want := []string{podRemedy, "docker run --device /dev/fuse …", "uname -r    # only looks"}; !slices.Equal(s.Other, want) {
		t.Errorf("other: %q, want %q", s.Other, want)
	}
}

func TestRootsOwnLinesNeedNoSudo(t *testing.T) {
	t.Setenv("_CONTAINERS_ROOTLESS_UID", "0")
	s := ScriptOf(asRoot("modprobe fuse"), setSysctl("user.max_user_namespaces", "15000"))
	if len(s.Root) != 3 || strings.Contains(strings.Join(s.Root, "\n"), "sudo") {
		t.Errorf("%q", s.Root)
	}
}

func TestNothingToMend(t *testing.T) {
	if s := ScriptOf("", " "); !s.Empty() {
		t.Errorf("%+v", s)
	}
}
