package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

func TestRunCombinesCommandsAsDockerDoes(t *testing.T) {
	image := layout.RunConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"default"}}
	for _, test := range []struct {
		name, line string
		image      layout.RunConfig
		want       string // of entry point and command
	}{
		{"the image's own", "img", image, "[/entry] [default]"},
		{"arguments in place of CMD", "img a -b", image, "[/entry] [a -b]"},
		{"another entry point, without CMD", "--entrypoint sh img", image, "[sh] []"},
		{"another entry point with arguments", "--entrypoint sh img -c x", image, "[sh] [-c x]"},
		{"no entry point", "--entrypoint= img a", image, "[] [a]"},
		{"an image with CMD only", "img", layout.RunConfig{Cmd: []string{"default"}}, "[] [default]"},
		{"nothing but arguments", "img a", layout.RunConfig{}, "[] [a]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := settingsOf(test.line, test.image)
			if got := sprint(s.Entrypoint, s.Cmd); err != nil || got != test.want {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	for _, line := range []string{"img", "--entrypoint= img"} {
		if _, err := settingsOf(line, layout.RunConfig{}); err == nil || !strings.Contains(err.Error(), "no command specified") {
			t.Errorf("%s: no command at all gave %v", line, err)
		}
	}
}

// settingsOf combines a command line and an image.
func settingsOf(line string, image layout.RunConfig) (layout.RunConfig, error) {
	r, err := requested(strings.Fields(line)...)
	if err != nil {
		return layout.RunConfig{}, err
	}
	return r.settings(image)
}

func sprint(lists ...[]string) string {
	var words []string
	for _, list := range lists {
		words = append(words, "["+strings.Join(list, " ")+"]")
	}
	return strings.Join(words, " ")
}

func TestSettingsAreTheImagesWithTheUsersInTheirPlace(t *testing.T) {
	image := layout.RunConfig{
		User: "www", Env: []string{"A=image", "B=image"}, Cmd: []string{"x"}, WorkingDir: "/srv", StopSignal: "SIGQUIT",
		ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
		Labels: map[string]string{"a": "image", "b": "image"}, Shell: []string{"/bin/sh"},
		Healthcheck: &layout.Healthcheck{Test: []string{"CMD", "true"}}, OnBuild: []string{"RUN x"},
	}
	path := "PATH=" + stage.DefaultPath
	own := image
	own.OnBuild, own.Env = nil, []string{path, "A=image", "B=image"}
	for line, change := range map[string]func(*layout.RunConfig){
		"img":                   func(*layout.RunConfig) {},
		"-u 7:8 img":            func(s *layout.RunConfig) { s.User = "7:8" },
		"-w /a/../b img":        func(s *layout.RunConfig) { s.WorkingDir = "/a/../b" },
		"-e A=me -e C= img":     func(s *layout.RunConfig) { s.Env = []string{path, "A=me", "B=image", "C="} },
		"-e PATH=/bin img":      func(s *layout.RunConfig) { s.Env = []string{"PATH=/bin", "A=image", "B=image"} },
		"-e A img":              func(s *layout.RunConfig) { s.Env = []string{path, "B=image"} },
		"-l b=me -l c img":      func(s *layout.RunConfig) { s.Labels = map[string]string{"a": "image", "b": "me", "c": ""} },
		"--stop-signal INT img": func(s *layout.RunConfig) { s.StopSignal = "INT" },
		"--no-healthcheck img":  func(s *layout.RunConfig) { s.Healthcheck = &layout.Healthcheck{Test: []string{"NONE"}} },
		"-p 8080:81 -p 53:53/udp --expose 82 img": func(s *layout.RunConfig) {
			s.ExposedPorts = map[string]struct{}{"80/tcp": {}, "81/tcp": {}, "53/udp": {}, "82/tcp": {}}
		},
	} {
		want := own
		change(&want)
		if got, err := settingsOf(line, image); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gave\n%+v, not\n%+v (%v)", line, got, want, err)
		}
	}
	if len(image.Labels) != 2 || len(image.ExposedPorts) != 1 || image.OnBuild == nil {
		t.Errorf("the image has changed: %+v", image)
	}
}

// accountsTree is a tree with these accounts.
func accountsTree(t *testing.T, passwd, group string) *layer.Tree {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "etc/passwd"), passwd)
	write(t, filepath.Join(root, "etc/group"), group)
	return layer.NewTree([]string{root})
}

const (
	somePasswd = "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:/bin/sh\n"
	someGroup  = "www:x:34:\nextra:x:50:www\naudio:x:29:\n"
)

func TestRunGivesTheProgramItsSurroundings(t *testing.T) {
	tree := accountsTree(t, somePasswd, someGroup)
	image := layout.RunConfig{User: "www", WorkingDir: "/srv", Cmd: []string{"x"}, Env: []string{"PATH=/bin", "A=image"}}
	r, err := requested("-e", "A=user", "--group-add", "audio", "--group-add", "77", "--group-add", "audio", "--network", "none", "img", "y")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.config(layout.Image{}, image, tree)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Spec
	if s.UID != 33 || s.GID != 34 || !slices.Equal(s.Groups, []uint32{34, 50, 29, 77}) {
		t.Errorf("user %d:%d, groups %v", s.UID, s.GID, s.Groups)
	}
	if s.Cwd != "/srv" || s.Hostname != c.ID[:12] || !slices.Equal(s.Args, []string{"y"}) || s.Network != network.ModeNone {
		t.Errorf("directory %q, host name %q, arguments %q, network %s", s.Cwd, s.Hostname, s.Args, s.Network)
	}
	if want := []string{"PATH=/bin", "HOSTNAME=" + s.Hostname, "A=user", "HOME=/var/www"}; !slices.Equal(s.Env, want) {
		t.Errorf("environment %q", s.Env)
	}
	var settings layout.RunConfig
	if err := json.Unmarshal(c.Settings, &settings); err != nil || settings.User != "www" || !slices.Equal(settings.Cmd, []string{"y"}) {
		t.Errorf("settings %s, %v", c.Settings, err)
	}
	r.Terminal, r.Hostname, r.Env = true, "own", []string{"HOME=/elsewhere", "PATH"}
	if c, err = r.config(layout.Image{}, image, tree); err != nil {
		t.Fatal(err)
	}
	if want := []string{"HOSTNAME=own", "TERM=xterm", "A=image", "HOME=/elsewhere"}; !slices.Equal(c.Spec.Env, want) {
		t.Errorf("environment of a terminal: %q", c.Spec.Env)
	}
}

func TestRunFindsTheUserInTheImage(t *testing.T) {
	tree := accountsTree(t, somePasswd, someGroup)
	for spec, want := range map[string]string{
		"":              "0:0 /root",
		"www":           "33:34 /var/www",
		"33":            "33:34 /var/www",
		"www:extra":     "33:50 /var/www",
		"7:8":           "7:8 /",
		"nobody-here":   "unable to find user nobody-here: no matching entries in passwd file",
		"www:nowhere":   "unable to find group nowhere: no matching entries in group file",
		"-1":            "uids and gids must be in range 0-2147483647",
		"99999999999:1": "uids and gids must be in range 0-2147483647",
	} {
		a, err := lookUpAccount(tree, spec, nil)
		got := fmt.Sprintf("%d:%d %s", a.uid, a.gid, a.home)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, not %s", spec, got, want)
		}
	}
	if _, err := lookUpAccount(tree, "", []string{"nowhere"}); err == nil || !strings.Contains(err.Error(), "nable to find group nowhere: no matching entries in group file") {
		t.Errorf("an unknown group gave %v", err)
	}
}

func TestAHostilePasswdIsNotReadWhole(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(root, "etc/passwd")
	write(t, passwd, "")
	if err := os.Truncate(passwd, 1<<30); err != nil {
		t.Fatal(err)
	}
	_, err := lookUpAccount(layer.NewTree([]string{root}), "www", nil)
	if err == nil || !strings.Contains(err.Error(), "/etc/passwd") || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("the error is %v", err)
	}
}

func TestRunRefusesWhatTheImageCannotHave(t *testing.T) {
	tree := accountsTree(t, somePasswd, someGroup)
	for line, want := range map[string]string{
		"-w sub img":                             "the working directory 'sub' is invalid, it needs to be an absolute path",
		"-u nobody-here img":                     "unable to find user nobody-here: no matching entries in passwd file",
		"--network host --sysctl net.a=1 img":    "sysctl 'net.a' not allowed in host network namespace",
		"--network private -P --expose 9/tcp im": "protocol",
	} {
		r, err := requested(strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		image := layout.RunConfig{Cmd: []string{"x"}, ExposedPorts: map[string]struct{}{"9/sctp": {}}}
		if _, err := r.config(layout.Image{}, image, tree); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	r := containerRequest{}
	if _, err := r.config(layout.Image{}, layout.RunConfig{Cmd: []string{"x"}, StopSignal: "LATER"}, tree); err == nil || !strings.Contains(err.Error(), "invalid signal: LATER") {
		t.Errorf("the image's signal gave %v", err)
	}
}

func TestAllExposedPortsArePublishedOnce(t *testing.T) {
	r, err := requested("-P", "-p", "8080:80", "--expose", "82", "img")
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.settings(layout.RunConfig{Cmd: []string{"x"}, ExposedPorts: map[string]struct{}{"80/tcp": {}, "80/udp": {}, "81": {}}})
	if err != nil {
		t.Fatal(err)
	}
	ports, err := r.publishedPorts(s.ExposedPorts)
	want := []network.Port{
		{HostPort: 8080, ContainerPort: 80, Proto: "tcp"},
		{ContainerPort: 80, Proto: "udp"},
		{ContainerPort: 81, Proto: "tcp"},
		{ContainerPort: 82, Proto: "tcp"},
	}
	if err != nil || !slices.Equal(ports, want) {
		t.Errorf("%+v, %v", ports, err)
	}
}

func TestKeptIdsAreTheCallers(t *testing.T) {
	image := layout.RunConfig{Cmd: []string{"x"}}
	r := containerRequest{KeepID: true, CallerUID: 1234, CallerGID: 4321}
	if s, err := r.settings(image); err != nil || s.User != "1234:4321" {
		t.Errorf("%q, %v", s.User, err)
	}
	image.User = "www"
	if s, err := r.settings(image); err != nil || s.User != "1234:4321" {
		t.Errorf("with a user of the image's: %q, %v", s.User, err)
	}
	r.User = "0"
	if s, err := r.settings(image); err != nil || s.User != "0" {
		t.Errorf("the user that was asked for: %q, %v", s.User, err)
	}
}

func TestConfinementIsWhatWasAskedFor(t *testing.T) {
	r, err := requested("--privileged", "--read-only", "--cap-drop", "all", "--device", "/dev/null:/dev/mine", "--oom-score-adj", "500",
		"--sysctl", "net.a=1", "--network", "none", "-m", "64m", "--init", "--rm", "-i", "img", "x")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.config(layout.Image{}, layout.RunConfig{}, accountsTree(t, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Spec
	if !s.Insecure || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"all"}) || s.Limits.Memory != 64<<20 || s.OOMScoreAdj != 500 || s.Sysctls["net.a"] != "1" {
		t.Errorf("%+v", s)
	}
	if want := []sandbox.Device{{Source: "/dev/null", Path: "/dev/mine"}}; !slices.Equal(s.Devices, want) {
		t.Errorf("devices %+v", s.Devices)
	}
	if !c.Init || !c.Remove || !c.OpenStdin || !c.StdinOnce || c.Terminal {
		t.Errorf("%+v", c)
	}
}

func TestPublishingNeedsANetworkOfItsOwn(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // there is no helper
	tree := accountsTree(t, "", "")
	for line, want := range map[string]string{
		"img x":                         "",
		"-p 80 img x":                   "ports can't be published: a private network",
		"-P img x":                      "ports can't be published: a private network",
		"--network private -p 80 img x": "", // which the network itself refuses
	} {
		r, err := requested(strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.config(layout.Image{}, layout.RunConfig{}, tree)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || fault.Remedy(err) == "") {
			t.Errorf("%s: %s, %v", line, c.Network.Mode, err)
		}
	}
}
