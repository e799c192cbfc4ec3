package context_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/internal/fault"
)

func TestFindDockerfile(t *testing.T) {
	outside := tree(t, map[string]string{"Dockerfile": "outside"})
	both := tree(t, map[string]string{"Dockerfile": "docker", "Containerfile": "container", "sub/x": "x"})
	podman := tree(t, map[string]string{"Containerfile": "container"})
	linked := tree(t, map[string]string{"Dockerfile": "-> deploy/Dockerfile", "deploy/Dockerfile": "deployed"})
	leaking := tree(t, map[string]string{"Dockerfile": "-> " + outside + "/Dockerfile", "dir/": ""})
	for _, test := range []struct{ about, dir, flag, want, name, fails string }{
		{about: "Dockerfile comes first", dir: both, want: "docker", name: "Dockerfile"},
		{about: "Containerfile is next", dir: podman, want: "container", name: "Containerfile"},
		{about: "a flag is seen from the context too", dir: both, flag: "sub/x", want: "x", name: "sub/x"},
		{about: "a flag may lead elsewhere", dir: both, flag: outside + "/Dockerfile", want: "outside", name: outside + "/Dockerfile"},
		{about: "a link inside is followed", dir: linked, want: "deployed", name: "Dockerfile"},
		{about: "a link to the outside isn't", dir: leaking, fails: "leads out of the build context"},
		{about: "not by a flag either", dir: leaking, flag: filepath.Join(leaking, "Dockerfile"), fails: "leads out of the build context"},
		{about: "none", dir: filepath.Join(both, "sub"), fails: "there is no Dockerfile or Containerfile in"},
		{about: "no directory", dir: filepath.Join(both, "none"), fails: "there is no Dockerfile or Containerfile in"},
		{about: "a flag that names nothing", dir: both, flag: "prod.df", fails: "there is no Dockerfile at prod.df or " + both + "/prod.df"},
		{about: "a flag that names a directory", dir: leaking, flag: "dir", fails: "is a directory, no Dockerfile"},
	} {
		t.Run(test.about, func(t *testing.T) {
			path, src, name, err := context.FindDockerfile(test.dir, test.flag)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || fault.Remedy(err) == "" {
					t.Errorf("%v (%s)", err, fault.Remedy(err))
				}
				return
			}
			if err != nil || string(src) != test.want || name != test.name {
				t.Errorf("%q from %s, called %q: %v", src, path, name, err)
			}
		})
	}
	t.Run("a flag is seen from the working directory first", func(t *testing.T) {
		t.Chdir(outside)
		if err := os.WriteFile("x.df", []byte("here"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, src, name, err := context.FindDockerfile(both, "x.df")
		if err != nil || string(src) != "here" || name != "x.df" {
			t.Errorf("%q called %q: %v", src, name, err)
		}
	})
}
