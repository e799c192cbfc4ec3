package binfmt

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRulesAreReadAsSystemdReadsThem(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"etc/a.conf":      ":a:M::\\x7fELF\\x02:\\xff:/usr/bin/a:\n",
		"lib/a.conf":      ":hidden:M::\\x7fELF\\x02:\\xff:/usr/bin/hidden:\n",
		"lib/b.conf":      "# a comment\n\n:b:M:0:\\x7f\\x45\\x4C\\x46\\x01:\\xff:/usr/bin/b:OPF\n",
		"lib/python.conf": ":python:M::\\xf3\\x0d\\x0d\\x0a::/usr/bin/python:\n",
		"lib/ending.conf": ":ending:E::jar::/usr/bin/jar:\n",
		"lib/torn.conf":   ":torn:M\n:\n",
		"lib/no-rules":    ":other:M::\\x7fELF\\x02:\\xff:/usr/bin/other:\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := readRules([]string{filepath.Join(dir, "etc"), filepath.Join(dir, "none"), filepath.Join(dir, "lib")})
	want := []string{
		`:a:M::\x7fELF\x02:\xff:/usr/bin/a:F`,
		`:b:M:0:\x7f\x45\x4C\x46\x01:\xff:/usr/bin/b:OPF`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestReleasesOfTheKernel(t *testing.T) {
	for release, want := range map[string]bool{
		"6.7.0": true, "6.12.5-amd64": true, "6.7-rc1": true, "7.0": true, "10.1.2": true,
		"6.6.99": false, "5.15.0-91-generic": false, "": false, "odd": false,
	} {
		if got := atLeast(release, 6, 7); got != want {
			t.Errorf("%s: %v", release, got)
		}
	}
}
