package context_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/builder-oci/builder/build/context"
)

// bigContext is a source tree of 20,000 files in 1,000 directories.
func bigContext(b *testing.B, ignore string) string {
	b.Helper()
	root := b.TempDir()
	content := make([]byte, 2048)
	for i := range 1000 {
		dir := filepath.Join(root, fmt.Sprintf("pkg%02d/sub%03d", i/40, i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 20 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%02d.go", j)), content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	if ignore != "" {
		if err := os.WriteFile(filepath.Join(root, ".dockerignore"), []byte(ignore), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

func BenchmarkList20000Files(b *testing.B) {
	for _, bench := range []struct{ name, ignore string }{
		{"NoIgnoreFile", ""},
		{"PlainPatterns", ".git\nnode_modules\n**/*.log\n**/.DS_Store\n"},
		{"Wildcards", "*.log\n*.tmp\n**/*.py[co]\n**/test_*/**\ndocs/*/*.md\n.git\nnode_modules\n!keep.log\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d := open(b, bigContext(b, bench.ignore), context.Options{})
			b.ReportAllocs()
			for b.Loop() {
				if n := len(walk(b, d, "")); n < 21000 {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkDigest20000Files(b *testing.B) {
	d := open(b, bigContext(b, ""), context.Options{})
	entries := walk(b, d, "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Digests(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
}
