package context_test

import (
	stdctx "context"
	"net"
	"path/filepath"
	"slices"
	"testing"

	"github.com/builder-oci/builder/build/context"
)

func TestHiddenIsAllThatWalkLeavesOut(t *testing.T) {
	root := tree(t, map[string]string{
		".dockerignore": "**/*.log\nnode\ndeep/*\n!deep/kept\n",
		"a":             "", "x.log": "", "sub/y.log": "", "sub/b": "", "node/much/more": "", "deep/kept": "", "deep/not/x": "", "link": "-> a",
	})
	l, err := net.Listen("unix", filepath.Join(root, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := open(t, root, context.Options{})
	for path, want := range map[string][]string{
		"":     {"deep/not", "node", "s", "sub/y.log", "x.log"},
		"sub":  {"sub/y.log"},
		"deep": {"deep/not"},
	} {
		hidden, err := d.Hidden(stdctx.Background(), func(fn func(*context.Entry) error) error {
			return d.Walk(stdctx.Background(), path, fn)
		})
		slices.Sort(hidden)
		if err != nil || !slices.Equal(hidden, want) {
			t.Errorf("%q: %q, %v, want %q", path, hidden, err, want)
		}
	}
	for _, tc := range [][3]string{{"", "a/b", "a/b"}, {"a", "a/b", "b"}, {"a", "a", ""}} {
		if got := context.Below(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%q from %q: %q", tc[1], tc[0], got)
		}
	}
}
