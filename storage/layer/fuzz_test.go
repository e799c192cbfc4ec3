package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// maxFuzzed bounds what one stream of the fuzzer's may unpack to, and patience
// how long a sparse file may go on, which no stream bounds.
const (
	maxFuzzed = 4 << 20
	patience  = 100 * time.Millisecond
)

// FuzzUnpack feeds strangers' blobs: tars, compressed or not. Whatever they hold,
// nothing outside of the directory is changed, made or linked to; room on disk is
// bounded by what the stream had, not by what it says; memory keeps within what the
// largest window and the longest header take; and what was taken is a layer that
// can be read.
func FuzzUnpack(f *testing.F) {
	for _, headers := range hostile() {
		data := tarOf(f, headers...)
		f.Add(data)
		f.Add(data[:len(data)-512-len(data)/3])
	}
	for _, blob := range compressed(f, tarOf(f, dirHeader("d"), fileHeader("d/f", strings.Repeat("x", 5000)))) {
		f.Add(blob)
		f.Add(append(bytes.Clone(blob), blob...))
		f.Add(blob[:len(blob)/2])
	}
	// Bombs: as many zeros as a blob's bytes can stand for.
	for _, blob := range compressed(f, make([]byte, maxFuzzed)) {
		f.Add(blob)
	}
	f.Add(sparse(1 << 50))
	f.Add(sparse(4 << 20))

	f.Fuzz(func(t *testing.T, blob []byte) {
		for _, flavor := range flavors {
			unpackStranger(t, flavor, blob)
		}
	})
}

// hostile are tars that mean harm, or are merely strange.
func hostile() [][]tar.Header {
	const cwd = "/proc/self/cwd/.." // the directory that must stay as it is
	long := strings.Repeat("long/", 200)
	return [][]tar.Header{
		{dirHeader("d"), fileHeader("d/f", "x"), linkHeader("h", "d/f"), symlinkHeader("s", "../d"), fileHeader("s/y", "z")},
		{fileHeader(".wh.d", ""), fileHeader("d/.wh..wh..opq", ""), dirHeader("d"), linkHeader("d/h", "nothing")},
		{fileHeader("../victim", "x")},
		{fileHeader("/../victim", "x")},
		{fileHeader("d/../../victim", "x")},
		{linkHeader("h", "../victim"), fileHeader("h", "x")},
		{linkHeader("h", cwd+"/victim"), fileHeader("h", "x")},
		{symlinkHeader("s", ".."), fileHeader("s/victim", "x"), fileHeader("s/new", "x")},
		{symlinkHeader("s", cwd), fileHeader("s/victim", "x"), dirHeader("s/new"), linkHeader("h", "s/victim")},
		{symlinkHeader("a", "b/.."), symlinkHeader("b", "a/.."), fileHeader("a/b/victim", "x")},
		{symlinkHeader("s", cwd), fileHeader("s/.wh.victim", ""), fileHeader("s/.wh..wh..opq", ""), fileHeader(".wh.s", "")},
		{fileHeader(".wh...", ""), fileHeader(".wh.", "")},
		{fileHeader("d/.wh.../victim", "")},
		{symlinkHeader("victim", cwd+"/victim"), fileHeader("victim", "x"), dirHeader("victim"), fileHeader("victim/f", "x")},
		{dirHeader("d"), symlinkHeader("d", cwd), fileHeader("d/victim", "x"), fileHeader(".wh.d", "")},
		{{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "mtime": "-3.5"}}},
		{{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": strings.Repeat("b", 900<<10)}}},
		{{Name: long + "f", Typeflag: tar.TypeReg, Linkname: "content", Mode: 0o7777, ModTime: written}},
		{{Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, {Name: "b", Typeflag: tar.TypeBlock}, {Name: "w", Typeflag: tar.TypeChar}},
		{{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}, linkHeader("q", "p"), {Name: "/", Typeflag: tar.TypeDir, Mode: 0}},
		{fileHeader("f", "1"), linkHeader("f", "f"), linkHeader("g", "f"), fileHeader("f", "2"), dirHeader("g"), linkHeader("g/f", "g")},
		{{Name: "own", Typeflag: tar.TypeReg, Uid: 1 << 20, Gid: 1 << 30, Mode: 0o4755}},
	}
}

// compressed gives data as every compression that layers are read in has it.
func compressed(t testing.TB, data []byte) [][]byte {
	t.Helper()
	var gz bytes.Buffer
	w, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	must(t, err)
	_, err = w.Write(data)
	must(t, errors.Join(err, w.Close()))
	z, err := zstd.NewWriter(nil)
	must(t, err)
	blobs := [][]byte{gz.Bytes(), z.EncodeAll(data, nil)}
	for _, program := range []string{"xz", "bzip2"} {
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		must(t, err)
		blobs = append(blobs, out)
	}
	return blobs
}

// sparse is a tar of one sparse file, in the form of GNU's own headers, that has
// a single byte at its end.
func sparse(size int64) []byte {
	head := make([]byte, 512)
	copy(head, "sparse")
	copy(head[100:], "0000644\x000000000\x000000000\x0000000000001\x0007346545000\x00")
	head[156] = 'S'
	copy(head[257:], "ustar  \x00")
	number := func(at int, n int64) { // in GNU's base 256, which holds any size
		head[at] = 0x80
		for i := 11; i > 3; i, n = i-1, n>>8 {
			head[at+i] = byte(n)
		}
	}
	number(386, size-1)
	number(398, 1)
	number(483, size)
	copy(head[148:], "        ")
	sum := 0
	for _, b := range head {
		sum += int(b)
	}
	copy(head[148:], fmt.Sprintf("%06o\x00 ", sum))
	data := make([]byte, 512)
	data[0] = 'x'
	return append(append(head, data...), make([]byte, 1024)...)
}

func unpackStranger(t *testing.T, flavor Flavor, blob []byte) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "dir")
	must(t, errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(outer, "victim"), []byte("untouched"), 0o640)))
	must(t, os.Chtimes(filepath.Join(outer, "victim"), written, written))
	before := victim(t, outer)
	t.Chdir(dir)

	var allocated runtime.MemStats
	runtime.ReadMemStats(&allocated)
	memory := allocated.TotalAlloc
	stream, err := takeStranger(flavor, dir, blob)
	runtime.ReadMemStats(&allocated)
	memory = allocated.TotalAlloc - memory

	if after := victim(t, outer); after != before {
		t.Errorf("%s: outside of the layer it was %s, and is %s", flavor, before, after)
	}
	if most := uint64(3*maxWindow + 32*stream); memory > most {
		t.Errorf("%s: %d bytes of memory for a stream of %d", flavor, memory, stream)
	}
	// A few bytes of a sparse file's map can stand for a block.
	if room, files := taken(t, dir); room > stream*holeBlock/8+int64(files)*(64<<10) {
		t.Errorf("%s: %d bytes on disk in %d files, of a stream of %d", flavor, room, files, stream)
	}
	if err == nil {
		// A device that tells a whiteout in a full copy is none.
		must(t, NewTree([]string{dir}).Walk("", func(*Node) error { return nil }))
	}
}

// takeStranger does what unpacking a pulled layer does, and tells how long the
// stream was that came out of the blob.
func takeStranger(flavor Flavor, dir string, blob []byte) (length int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, _, err := Decompress(bytes.NewReader(blob))
	if err != nil {
		return 0, err
	}
	counted := &io.LimitedReader{R: r, N: maxFuzzed}
	o := DirOptions{Flavor: flavor, ExactOwners: true}
	p, err := Unpack(ctx, counted, dir, o)
	if err == nil {
		err = errors.Join(FixImplied(ctx, dir, NewTree(nil), p, o), p.Close())
	}
	return maxFuzzed - counted.N, errors.Join(err, r.Close())
}

// victim describes everything beside the directory that is unpacked into, and
// that directory's own place.
func victim(t *testing.T, outer string) string {
	t.Helper()
	var b strings.Builder
	names, err := os.ReadDir(outer)
	must(t, err)
	for _, d := range names {
		fmt.Fprintf(&b, "%s %s\n", d.Name(), d.Type())
	}
	file := filepath.Join(outer, "victim")
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return b.String() + err.Error()
	}
	content, err := os.ReadFile(file)
	must(t, err)
	fmt.Fprintf(&b, "%o %d:%d %d links, %d.%d: %q", st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, content)
	return b.String()
}

// taken sums up the blocks of a tree's files.
func taken(t *testing.T, dir string) (room int64, files int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		room += st.Blocks * 512
		files++
		return nil
	}))
	return room, files
}
