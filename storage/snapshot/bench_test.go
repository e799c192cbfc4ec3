package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkInstruction is what a RUN of nothing but a small file costs of
// snapshots: prepare, mount points, mount, unmount, walk, commit.
func BenchmarkInstruction(b *testing.B) {
	for _, d := range []Driver{Fuse, Overlay, VFS} {
		b.Run(string(d), func(b *testing.B) {
			ctx := context.Background()
			s := newBench(b, d)
			base := s.commit(b, "", "base", dir("etc", 0o755), dir("proc", 0o555), file("etc/a", "a"))
			n := 0
			for b.Loop() {
				n++
				a, err := s.Prepare(ctx, base)
				must(b, err)
				undo, err := a.MakeMountPoints(sandboxPoints)
				must(b, err)
				root, err := a.Mount(ctx)
				must(b, err)
				must(b, os.WriteFile(filepath.Join(root, "etc/a"), []byte("b"), 0o644))
				must(b, a.Unmount(ctx))
				must(b, undo())
				src, err := a.Changes(ctx)
				layerOf(b, src, err)
				must(b, a.Commit(keyOf(fmt.Sprint(n))))
			}
		})
	}
}
