package layer

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
)

// BenchmarkPack packs the directory that LAYER_BENCH names, as a layer over
// nothing: LAYER_BENCH=/dev/shm/tree go test -bench Pack ./storage/layer
func BenchmarkPack(b *testing.B) {
	dir := os.Getenv("LAYER_BENCH")
	if dir == "" {
		b.Skip("set LAYER_BENCH to a directory")
	}
	for _, c := range []Compression{None, Gzip, Zstd} {
		b.Run(string(c), func(b *testing.B) {
			for b.Loop() {
				src := Upper(dir, NewTree(nil), UpperOptions{ExactOwners: true})
				p, err := Pack(context.Background(), src, io.Discard, PackOptions{Compression: c})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(p.TarSize)
				b.ReportMetric(float64(p.Blob.Size)/float64(p.TarSize), "ratio")
			}
		})
	}
}

// BenchmarkStripOrigins looks through the same directory.
func BenchmarkStripOrigins(b *testing.B) {
	dir := os.Getenv("LAYER_BENCH")
	if dir == "" {
		b.Skip("set LAYER_BENCH to a directory")
	}
	for b.Loop() {
		if _, err := stripOrigins(context.Background(), dir, every); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnpack unpacks the tar that LAYER_BENCH_TAR names into a tmpfs.
func BenchmarkUnpack(b *testing.B) {
	name := os.Getenv("LAYER_BENCH_TAR")
	if name == "" {
		b.Skip("set LAYER_BENCH_TAR to a tar")
	}
	for b.Loop() {
		b.StopTimer()
		dir, err := os.MkdirTemp("/dev/shm", "layer-bench-")
		if err != nil {
			b.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		o := DirOptions{Flavor: Overlay, ExactOwners: true}
		p, err := Unpack(context.Background(), f, dir, o)
		if err == nil {
			err = errors.Join(FixImplied(context.Background(), dir, NewTree(nil), p, o), p.Close())
		}
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(f.Close(), os.RemoveAll(dir)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
