package context_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/internal/fault"
)

// glob gives all that a pattern names.
func glob(d *context.Dir, pattern string) (found []context.Match, err error) {
	err = d.Glob(pattern, func(m context.Match) error {
		found = append(found, m)
		return nil
	})
	return found, err
}

func TestGlob(t *testing.T) {
	root := tree(t, map[string]string{
		"go.mod": "", "go.sum": "", "src/a.go": "", "src/b.go": "", "src/sub/c.go": "", "src/.hidden": "",
		"arr[0].txt": "", "name": "-> src", "out": "-> /etc", "abs": "-> /src/a.go", "up": "-> ../../go.mod",
		"secret.env": "", "logs/app.log": "", "logs/keep.log": "", "gen/x/y": "", "tolog": "-> logs/app.log", "loop": "-> loop",
		"dir.d/sub/f": "", ".dockerignore": "*.env\nlogs\n!logs/keep.log\ngen\n!gen/none\n",
	})
	d := open(t, root, context.Options{})
	for _, test := range []struct{ pattern, want string }{
		{".", "="},
		{"", "="},
		{"/", "="},
		{"./", "="},
		{"go.mod", "go.mod=go.mod"},
		{"/go.mod", "go.mod=go.mod"},
		{"./src/", "src=src"},
		{"../go.mod", "go.mod=go.mod"},
		{"src/../go.sum", "go.sum=go.sum"},
		{"go.*", "go.mod=go.mod go.sum=go.sum"},
		{"src/*", ".hidden=src/.hidden a.go=src/a.go b.go=src/b.go sub=src/sub"},
		{"src/?.go", "a.go=src/a.go b.go=src/b.go"},
		{"*/*/c.go", "c.go=src/sub/c.go"},
		{"*/[a-s]*/f", "f=dir.d/sub/f"},
		{"arr[[]0].txt", "arr[0].txt=arr[0].txt"},
		{"none*", ""},
		{"*.env", ""},
		{"name", "name=src"},
		{"name/a.go", "a.go=src/a.go"},
		{"name/*.go", "a.go=src/a.go b.go=src/b.go"},
		{"nam*/a.go", ""},
		{"nam*", "name=src"},
		{"abs", "abs=src/a.go"},
		{"up", "up=go.mod"},
		{"logs", "logs=logs"},
		{"logs/*", "keep.log=logs/keep.log"},
	} {
		matches, err := glob(d, test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		var got []string
		for _, m := range matches {
			got = append(got, m.Name+"="+m.Path)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q: %q, want %q", test.pattern, got, test.want)
		}
	}
	for _, test := range []struct{ pattern, want, remedy string }{
		{"go.mot", "go.mot is not in the build context " + root, "did you mean go.mod?"},
		{"SRC", "SRC is not in the build context", "did you mean src?"},
		{"src/d.go", "src/d.go is not in the build context", "did you mean src/"},
		{"nowhere/*", "nowhere/* is not in the build context", ""},
		{"secret.env", "secret.env is in the build context, but .dockerignore:1: *.env leaves it out", "!secret.env"},
		{"logs/app.log", ".dockerignore:2: logs leaves it out", "!logs/app.log"},
		{"gen", ".dockerignore:4: gen leaves it out", "!gen"},
		{"tolog", "logs/app.log is in the build context, but .dockerignore:2: logs", ""},
		{"to*", "logs/app.log is in the build context, but .dockerignore:2: logs", ""},
		{"../other/file", "../other/file leads outside the build context " + root, "--file"},
		{"out", "out is a link to /etc, which is not in the build context", ""},
		{"loop", "loop is a link to loop", ""},
		{filepath.Join(root, "go.mod"), "is not in the build context", "write go.mod"},
		{"src/[", "can't be read: syntax error in pattern", "[[]"},
	} {
		_, err := glob(d, test.pattern)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(fault.Remedy(err), test.remedy) {
			t.Errorf("%q: %v (%s)", test.pattern, err, fault.Remedy(err))
		}
	}
}

func TestLinksLeadNowhereOutside(t *testing.T) {
	outside := tree(t, map[string]string{"secret": "x"})
	root := tree(t, map[string]string{"dir": "-> " + outside, "in/deeper": "-> ../../../../../../etc"})
	d := open(t, root, context.Options{})
	for _, pattern := range []string{"dir/secret", "dir", "dir/*", "in/deeper/passwd"} {
		if matches, err := glob(d, pattern); err == nil {
			t.Errorf("%s found %v", pattern, matches)
		}
	}
	if _, err := d.Lstat("dir/secret"); err == nil {
		t.Error("Lstat followed a link")
	}
	if err := d.Walk(t.Context(), "dir/secret", func(*context.Entry) error { return nil }); err == nil {
		t.Error("Walk followed a link")
	}
	got := paths(walk(t, d, ""))
	if want := []string{"", "dir", "in", "in/deeper"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
