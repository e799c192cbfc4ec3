package context

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

// An ignore file is a stranger's. It must give rules or an error with its line,
// never a panic, and without exceptions asking of one path says what a walk does.
// (With them docker's matcher itself has two minds about a path whose parent only
// the exception matches: a walk, which decides, leaves it out.)
func FuzzIgnoreFile(f *testing.F) {
	for _, seed := range []string{
		"", "# comment\n\n*.log\n", "*\n!keep\n", "**/x\n!d/**/y\n", "/abs/\n./rel\n../up\n", "[a-\n", "a[^b]?\\*\n", "!\n", "!!a\n",
		"\ufeffa\n", "d\n!d/keep\n", " blank \n", "d/*\n!d/keep/*\nkeep\n", "**\n!**/a\n", "\\\n", "d/**/..\n", strings.Repeat("*", 40) + "\n",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	for _, name := range []string{"a", "x.log", "d/keep/a", "d/y", "d/e/y"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(dir, name), nil, 0o644)); err != nil {
			f.Fatal(err)
		}
	}
	d, err := OpenDir(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return // patterns become regular expressions, whose cost is their author's
		}
		rules, err := parseIgnore(".dockerignore", text)
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Place, ".dockerignore:") {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		own := *d
		own.ignore = rules
		walked := map[string]bool{}
		if err := own.Walk(t.Context(), "", func(e *Entry) error {
			walked[e.Path] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"a", "x.log", "d/keep/a", "d/y", "d/e/y"} {
			if strings.Contains(text, "!") {
				_, _ = own.Excluded(path)
				continue
			}
			if out, by := own.Excluded(path); out == walked[path] {
				t.Fatalf("%q: %s is left out: %v by %s, and walked: %v", text, path, out, by, walked[path])
			}
		}
	})
}
