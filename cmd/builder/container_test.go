package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// readRun gives what the command line "builder run ARGS" means.
func readRun(args ...string) (o containerOptions, err error) {
	err = readLine(newApp(io.Discard, io.Discard), "run", args, func(c *cli.Context) error {
		o, err = readContainerOptions(c)
		return err
	})
	return o, err
}

func TestRunCombinesCommandsAsDockerDoes(t *testing.T) {
	image := layout.RunConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"default"}}
	tests := []struct {
		name, line string
		image      layout.RunConfig
		want       string
	}{
		{"the image's own", "img", image, "/entry default"},
		{"arguments in place of CMD", "img a -b", image, "/entry a -b"},
		{"another entry point, without CMD", "--entrypoint sh img", image, "sh"},
		{"another entry point with arguments", "--entrypoint sh img -c x", image, "sh -c x"},
		{"no entry point", "--entrypoint= img a", image, "a"},
		{"an image with CMD only", "img", layout.RunConfig{Cmd: []string{"default"}}, "default"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, err := readRun(strings.Fields(test.line)...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := o.command(test.image)
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if _, err := (containerOptions{image: "img"}).command(layout.RunConfig{}); err == nil {
		t.Error("no command at all isn't an error")
	}
}

func TestRunGivesTheProgramItsSurroundings(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:/bin/sh\n",
		"group":  "www:x:34:\nextra:x:50:www\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := layer.NewTree([]string{root})
	image := layout.RunConfig{User: "www", WorkingDir: "/srv", Cmd: []string{"x"}, Env: []string{"PATH=/bin", "A=image"}}
	o, err := readRun("-e", "A=user", "-w", "sub", "--network", "none", "img")
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.config(layout.Image{}, image, tree)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Spec
	if s.UID != 33 || s.GID != 34 || !slices.Equal(s.Groups, []uint32{34, 50}) {
		t.Errorf("user %d:%d, groups %v", s.UID, s.GID, s.Groups)
	}
	if s.Cwd != "/srv/sub" || s.Hostname != c.ID[:12] {
		t.Errorf("directory %q, host name %q", s.Cwd, s.Hostname)
	}
	if want := []string{"PATH=/bin", "HOSTNAME=" + s.Hostname, "HOME=/var/www", "A=user"}; !slices.Equal(s.Env, want) {
		t.Errorf("environment %q", s.Env)
	}
	o.user, o.workdir = "0:7", "/abs"
	if c, err = o.config(layout.Image{}, image, tree); err != nil || c.Spec.UID != 0 || c.Spec.GID != 7 || c.Spec.Cwd != "/abs" {
		t.Errorf("%+v, %v", c.Spec, err)
	}
	o.user = "nobody-here"
	if _, err = o.config(layout.Image{}, image, tree); err == nil || !strings.Contains(err.Error(), "nobody-here") {
		t.Errorf("an unknown user gave %v", err)
	}
}

func TestRunReadsEnvironmentFiles(t *testing.T) {
	t.Setenv("OURS", "mine")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# a comment\n\nA=from file\nOURS\nNOWHERE_TO_BE_FOUND\n  B=x # y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := environment([]string{file}, []string{"A=flag"})
	if want := []string{"A=from file", "OURS=mine", "B=x # y", "A=flag"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	long := "LONG=" + strings.Repeat("x", 1<<17)
	if err := os.WriteFile(file, []byte("A=1\r\n"+long+"\nB=2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := environment([]string{file}, nil); err != nil || !slices.Equal(lines, []string{"A=1", long, "B=2"}) {
		t.Errorf("around a long line: %d variables, %v", len(lines), err)
	}
	if got = mergeEnv(got); !slices.Equal(got, []string{"A=flag", "OURS=mine", "B=x # y"}) {
		t.Errorf("merged: %q", got)
	}
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	for line, want := range map[string]string{
		"":                         "needs an image",
		"-d img":                   "-d is not supported yet",
		"-it img":                  "-t is not supported yet",
		"-v /a:/b img":             "-v is not supported yet",
		"-p 80:70000 img":          "70000",
		"-p 80 --network host img": "can't be published with --network host",
		"--network nonsense img":   "nonsense",
		"--dns nonsense img":       `--dns "nonsense" is no IP address`,
	} {
		if _, err := readRun(strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, which doesn't tell %q", line, err, want)
		}
	}
}

func TestWorkdirIsMadeInsideTheRoot(t *testing.T) {
	root := t.TempDir()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := makeWorkdir(root, "/../link/work"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "work")); err == nil {
		t.Error("a link led out of the root")
	}
	st, err := os.Stat(filepath.Join(root, outside, "work"))
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
}
