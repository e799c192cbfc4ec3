package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCopiesLandWhereDockersDo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"dir/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"todir": "dir", "tofile": "file", "dangling": "absent", "dir/up": "../other", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for to, want := range map[string][2]string{ // of a file, of a directory
		"dir":         {"dir:", "dir:"},
		"dir/":        {"dir:", "dir:"},
		"dir/.":       {"dir:", "dir:"},
		"todir":       {"dir:", "dir:"},
		"dir/up":      {"dir/../other:", "dir/../other:"},
		"file":        {":file", "cannot copy directory"},
		"tofile":      {":file", "cannot copy directory"},
		"file/":       {"not a directory", "cannot copy directory"},
		"new":         {":new", ":new"},
		"new/":        {"no such directory", ":new"},
		"dangling":    {":absent", ":absent"},
		"dir/new":     {"dir:new", "dir:new"},
		"absent2/new": {"no such file or directory", "no such file or directory"},
		"file/new":    {"not a directory", "not a directory"},
		"loop":        {"too many levels", "too many levels"},
	} {
		for i, isDir := range []bool{false, true} {
			got := ""
			l, err := land(thisMachine{}, dir+"/"+to, isDir)
			if err != nil {
				got = err.Error()
			} else {
				got = strings.Trim(strings.TrimPrefix(l.dir, dir), "/") + ":" + l.rename
			}
			if got != want[i] && (err == nil || !strings.Contains(got, want[i])) {
				t.Errorf("%s, of a directory %v: got %q, want %q", to, isDir, got, want[i])
			}
		}
	}
}

func TestCopyArgumentsAreToldApart(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/srv": {"web", "/srv"}, "web:": {"web", ""}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"},
		"plain": {"", "plain"}, "-": {"", "-"}, "web:a:b": {"web", "a:b"}, "../x:y": {"", "../x:y"},
	} {
		if name, path := splitCopyArgument(arg); name != want[0] || path != want[1] {
			t.Errorf("%s: %q and %q", arg, name, path)
		}
	}
}

func TestEntriesAreRenamed(t *testing.T) {
	for _, c := range []struct{ rename, first, name, want string }{
		{"", "src", "src/a", "src/a"},
		{"new", "src", "src/", "new"},
		{"new", "src", "src/a/b", "new/a/b"},
		{"new", ".", "./", "new/./"},
		{"new", ".", "./a", "new/./a"},
		{"new", "file", "file", "new"},
	} {
		if got := (landing{rename: c.rename}).renamed(c.first, c.name); got != c.want {
			t.Errorf("%q of %q as %q: %q", c.name, c.first, c.rename, got)
		}
	}
}
