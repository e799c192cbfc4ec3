package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// TestNastyLayer sends what tars and file systems stumble over through all
// drivers and back.
func TestNastyLayer(t *testing.T) {
	var first []byte
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		got := packed(t, s.run(shell(t, nasty)), TimeRule{Mode: TimeExact, Epoch: 7})
		if first == nil {
			first = got
		} else if !bytes.Equal(got, first) {
			t.Errorf("%s: other bytes than under %s:\n%s", flavor, flavors[0], difference(first, got))
		}
		again := newStack(t, flavor)
		again.unpack(got)
		if back := packed(t, Upper(again.layers[0], NewTree(nil), again.upperOptions()), TimeRule{}); !bytes.Equal(back, got) {
			t.Errorf("%s: unpacked and packed again:\n%s", flavor, difference(got, back))
		}
	}
}

// TestTarHolds looks at headers with another program's eyes.
func TestTarHolds(t *testing.T) {
	long := strings.Repeat("directory/", 30) + "file"
	for _, tc := range []struct {
		name string
		e    Entry
		pax  []string // the records that it needs
	}{
		{"a plain name", Entry{Path: "f", Type: TypeReg, Mode: 0o644}, nil},
		{"a name of 100 bytes", Entry{Path: strings.Repeat("x", 100), Type: TypeReg}, nil},
		{"a name of 101 bytes", Entry{Path: strings.Repeat("x", 101), Type: TypeReg}, []string{"path"}},
		{"a directory of 100 bytes with its slash", Entry{Path: strings.Repeat("x", 99), Type: TypeDir}, nil},
		{"a long name", Entry{Path: long, Type: TypeDir}, []string{"path"}},
		{"a name that isn't UTF-8", Entry{Path: "a\xff\xfe", Type: TypeReg}, []string{"path"}},
		{"a UTF-8 name", Entry{Path: "ä", Type: TypeSymlink, Linkname: "ö"}, []string{"linkpath", "path"}},
		{"a long link", Entry{Path: "l", Type: TypeSymlink, Linkname: long}, []string{"linkpath"}},
		{"the largest octal ids", Entry{Path: "f", Type: TypeReg, UID: 1<<21 - 1, GID: 1<<21 - 1}, nil},
		{"larger ids", Entry{Path: "f", Type: TypeReg, UID: 1 << 21, GID: 1<<32 - 2}, []string{"gid", "uid"}},
		{"before 1970", Entry{Path: "f", Type: TypeReg, ModTime: time.Unix(-1, 0)}, []string{"mtime"}},
		{"after 2038", Entry{Path: "f", Type: TypeReg, ModTime: time.Unix(1<<32, 0)}, nil},
		{"after 2242", Entry{Path: "f", Type: TypeReg, ModTime: time.Unix(1<<33, 0)}, []string{"mtime"}},
		{"attributes", Entry{Path: "f", Type: TypeReg, Xattrs: map[string]string{"user.b": "\x00=\n", "user.a": "", "security.capability": "\x01"}}, []string{"SCHILY.xattr.security.capability", "SCHILY.xattr.user.a", "SCHILY.xattr.user.b"}},
		{"a device", Entry{Path: "d", Type: TypeBlock, Devmajor: 4095, Devminor: 1<<20 - 1}, nil},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			if tc.e.ModTime.IsZero() {
				tc.e.ModTime = written
			}
			r := tar.NewReader(bytes.NewReader(packed(t, Entries([]*Entry{&tc.e}), TimeRule{})))
			h, err := r.Next()
			must(t, err)
			got := Entry{
				Path: strings.TrimSuffix(h.Name, "/"), Type: h.Typeflag, Mode: h.Mode, UID: uint32(h.Uid), GID: uint32(h.Gid),
				ModTime: h.ModTime, Linkname: h.Linkname, Devmajor: h.Devmajor, Devminor: h.Devminor,
			}
			for _, key := range tc.pax {
				value, ok := h.PAXRecords[key]
				if !ok {
					t.Errorf("record %s is missing", key)
				}
				if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
					if got.Xattrs == nil {
						got.Xattrs = map[string]string{}
					}
					got.Xattrs[name] = value
				}
			}
			if len(h.PAXRecords) != len(tc.pax) {
				t.Errorf("records %v, want %v", h.PAXRecords, tc.pax)
			}
			if got.Path != tc.e.Path || !sameMeta(&got, &tc.e) || !got.ModTime.Equal(tc.e.ModTime) {
				t.Errorf("read %+v\nwrote %+v", got, tc.e)
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("what follows: %v", err)
			}
		})
	}
}

// TestPaxRecordCountsItsOwnLength goes over the lengths at which that grows.
func TestPaxRecordCountsItsOwnLength(t *testing.T) {
	for n := range 2000 {
		r := paxRecord("k", strings.Repeat("v", n))
		if got := fmt.Sprint(len(r)); !strings.HasPrefix(r, got+" k=") {
			t.Fatalf("a record of %s bytes begins %.10q", got, r)
		}
	}
}

func TestTimeRules(t *testing.T) {
	at := func(sec int64) *Entry { return &Entry{Path: "f", Type: TypeReg, ModTime: time.Unix(sec, 999)} }
	for _, tc := range []struct {
		rule TimeRule
		e    *Entry
		want int64
	}{
		{TimeRule{}, at(50), 50},
		{TimeRule{Mode: TimeClamp, Epoch: 40}, at(50), 40},
		{TimeRule{Mode: TimeClamp, Epoch: 60}, at(50), 50},
		{TimeRule{Mode: TimeExact, Epoch: 60}, at(50), 60},
		{TimeRule{Mode: TimeClamp, Epoch: 60}, &Entry{Path: "d", Type: TypeDir, Implied: true, ModTime: time.Unix(50, 0)}, 60},
	} {
		h, err := tar.NewReader(bytes.NewReader(packed(t, Entries([]*Entry{tc.e}), tc.rule))).Next()
		must(t, err)
		if h.ModTime.Unix() != tc.want {
			t.Errorf("%+v makes %d of %v, want %d", tc.rule, h.ModTime.Unix(), tc.e.ModTime, tc.want)
		}
	}
}

// TestClampDoesNotDependOnTheSecond repeats a step a second later.
func TestClampDoesNotDependOnTheSecond(t *testing.T) {
	s := newStack(t, Overlay)
	s.run(shell(t, "mkdir d; echo x > d/f; touch -d '3 seconds ago' d/f d"))
	again := s.run(shell(t, "echo x > d/f; touch d"))
	if got := listing(t, again.(timed).timed(TimeRule{Mode: TimeClamp, Epoch: 1e9})); got != "" {
		t.Errorf("with an epoch there stands\n%s", got)
	}
	if got := listing(t, again); got != "i d/\nf d/f\n" {
		t.Errorf("without one there stands\n%s", got)
	}
}

// TestBlobsDependOnTheirInputsAlone packs with other numbers of cores, and
// without a hurry between reads.
func TestBlobsDependOnTheirInputsAlone(t *testing.T) {
	dir := t.TempDir()
	must(t, exec.Command("/bin/sh", "-ec", `cd "$0"; for i in 1 2 3 4; do cat /proc/self/exe /bin/sh > f$i; seq 300000 > t$i; done`, dir).Run())
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, o := range []PackOptions{{Compression: None}, {Compression: Gzip}, {Compression: Gzip, Level: 6}, {Compression: Zstd}, {Compression: Zstd, Level: 3}} {
		var first Packed
		for _, cores := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(cores)
			var blob bytes.Buffer
			p, err := Pack(context.Background(), Upper(dir, NewTree(nil), UpperOptions{ExactOwners: true}), &blob, o)
			must(t, err)
			if first.DiffID == "" {
				first = p
				verify(t, p, blob.Bytes(), string(o.Compression))
			}
			if p.Blob.Digest != first.Blob.Digest || p.DiffID != first.DiffID {
				t.Errorf("%+v: %d cores give another blob", o, cores)
			}
		}
	}
}

// verify holds what Pack says against what it wrote.
func verify(t *testing.T, p Packed, blob []byte, compression string) {
	t.Helper()
	if p.Blob.Digest != digest.FromBytes(blob) || p.Blob.Size != int64(len(blob)) {
		t.Errorf("blob %v of %d bytes, said to be %v of %d", digest.FromBytes(blob), len(blob), p.Blob.Digest, p.Blob.Size)
	}
	r, name, err := Decompress(bytes.NewReader(blob))
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if name != compression || p.DiffID != digest.FromBytes(data) || p.TarSize != int64(len(data)) {
		t.Errorf("%s: %v of %d bytes, said to be %s: %v of %d", name, digest.FromBytes(data), len(data), compression, p.DiffID, p.TarSize)
	}
	if p.Entries == 0 {
		t.Error("no entries")
	}
}

// TestSparseFileOf8GiB has a size that ustar can't hold.
func TestSparseFileOf8GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds; run without -short")
	}
	dir := t.TempDir()
	const size = 8<<30 + 3
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	must(t, f.Truncate(size))
	_, err = f.WriteAt([]byte("end"), size-3)
	must(t, err)
	must(t, f.Close())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var out ends
	p, err := Pack(context.Background(), Upper(dir, NewTree(nil), UpperOptions{ExactOwners: true}), &out, PackOptions{Compression: None})
	must(t, err)
	if out.size != p.TarSize || p.TarSize%blockSize != 0 {
		t.Errorf("%d bytes written, said to be %d", out.size, p.TarSize)
	}
	tr := tar.NewReader(&out.head)
	h, err := tr.Next()
	must(t, err)
	if h.Name == "./" {
		h, err = tr.Next()
		must(t, err)
	}
	if h.Name != "sparse" || h.Size != size {
		t.Errorf("%s of %d bytes, want sparse of %d", h.Name, h.Size, int64(size))
	}
	if want := "end" + string(make([]byte, 2*blockSize+blockSize-3)); out.tail != want {
		t.Errorf("the tar ends %q", out.tail)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 40<<20 {
		t.Errorf("took %d MiB of memory", grown>>20)
	}
}

// TestUnpackLeavesHoles unpacks large files of zeros and little else.
func TestUnpackLeavesHoles(t *testing.T) {
	content := make([]byte, 5<<20+7)
	copy(content[2<<20+5:], "in the middle")
	for _, end := range []string{"", "end"} {
		copy(content[len(content)-len(end):], end)
		dir := t.TempDir()
		data := tarOf(t, fileHeader("f", string(content)))
		_, err := Unpack(t.Context(), bytes.NewReader(data), dir, DirOptions{Flavor: Overlay, ExactOwners: true})
		must(t, err)
		got, err := os.ReadFile(filepath.Join(dir, "f"))
		must(t, err)
		if !bytes.Equal(got, content) {
			t.Errorf("another content of %d bytes", len(got))
		}
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(dir, "f"), &st))
		if st.Blocks*512 > 2<<20 {
			t.Errorf("takes %d bytes", st.Blocks*512)
		}
	}
}

// ends keeps the beginning and the end of a stream.
type ends struct {
	head bytes.Buffer
	tail string
	size int64
}

func (w *ends) Write(p []byte) (int, error) {
	if w.size == 0 {
		w.head.Write(p[:4*blockSize])
	}
	w.size += int64(len(p))
	w.tail += string(p[max(0, len(p)-3*blockSize):])
	w.tail = w.tail[max(0, len(w.tail)-3*blockSize):]
	return len(p), nil
}

func Test100000Entries(t *testing.T) {
	var headers []tar.Header
	for d := range 1000 {
		dir := fmt.Sprintf("d%03d", d)
		headers = append(headers, dirHeader(dir))
		for f := range 99 {
			headers = append(headers, fileHeader(fmt.Sprintf("%s/f%02d", dir, f), "x"))
		}
	}
	data := tarOf(t, headers...)
	s := newStack(t, Overlay)
	// Deleting as many files takes ext4 a minute.
	must(t, unix.Mount("tmpfs", s.dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(s.dir, unix.MNT_DETACH) })
	s.unpack(data)
	lower := s.tree()
	// A tenth of it once more, as a layer in which one name changes.
	s.unpack(tarOf(t, headers[:10_000]...))
	must(t, os.WriteFile(filepath.Join(s.layers[0], "d050/f50"), []byte("y"), 0o644))
	want := "i d050/\nf d050/f50\n"
	if got := listing(t, Upper(s.layers[0], lower, s.upperOptions())); got != want {
		t.Errorf("the layer has\n%.1000s\nwant\n%s", got, want)
	}
	p, err := Pack(context.Background(), Upper(s.layers[1], NewTree(nil), s.upperOptions()), io.Discard, PackOptions{Compression: Zstd})
	must(t, err)
	if p.Entries != 100_000 {
		t.Errorf("%d entries, want 100000", p.Entries)
	}
}

func TestPackErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		e    *Entry
		want string
	}{
		{"a source that fails", with(file("f", "x"), func(e *Entry) { e.Open = func() (io.ReadCloser, error) { return nil, broken } }), "broken"},
		{"a file that shrinks", with(file("f", "x"), func(e *Entry) { e.Size = 5 }), "became shorter"},
		{"an attribute that no tar can hold", with(file("f", ""), func(e *Entry) { e.Xattrs = map[string]string{"user.a=b": ""} }), "no tar can carry"},
	} {
		for _, c := range []Compression{Gzip, Zstd, None} {
			_, err := Pack(context.Background(), Entries([]*Entry{tc.e}), io.Discard, PackOptions{Compression: c})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: error %v, want %q", tc.name, c, err, tc.want)
			}
		}
	}
	big := with(file("f", ""), func(e *Entry) {
		e.Size = 1 << 40
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(endless{}), nil }
	})
	for _, c := range []Compression{Gzip, Zstd, None} {
		if _, err := Pack(context.Background(), Entries([]*Entry{big}), full{}, PackOptions{Compression: c}); !errors.Is(err, errFull) {
			t.Errorf("%s: error of the blob's writer: %v", c, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if _, err := Pack(ctx, Entries([]*Entry{big}), io.Discard, PackOptions{Compression: c}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: error after the context's end: %v", c, err)
		}
		cancel()
	}
	for _, o := range []PackOptions{{Compression: "lzma"}, {Compression: Gzip, Level: 10}, {Compression: Zstd, Level: -1}, {Compression: None, Level: 1}} {
		if _, err := Pack(context.Background(), Entries(nil), io.Discard, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestDecompress(t *testing.T) {
	const text = "content that is long enough to be compressed compressed compressed"
	for name, tool := range map[string]string{"gzip": "gzip", "zstd": "zstd", "bzip2": "bzip2", "xz": "xz", "none": "cat"} {
		cmd := exec.Command(tool, "-c")
		if tool == "cat" {
			cmd = exec.Command(tool)
		}
		cmd.Stdin = strings.NewReader(text)
		data, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			continue
		}
		r, got, err := Decompress(bytes.NewReader(data))
		must(t, err)
		back, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		if got != name || string(back) != text {
			t.Errorf("%s: %s, %q", name, got, back)
		}
		if name == "none" {
			continue
		}
		r, _, err = Decompress(bytes.NewReader(data[:len(data)-9]))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%s: a cut stream is taken for whole", name)
		}
	}
	for _, short := range []string{"", "x", "\x1f"} {
		r, got, err := Decompress(strings.NewReader(short))
		must(t, err)
		if back, _ := io.ReadAll(r); got != "none" || string(back) != short {
			t.Errorf("%q: %s, %q", short, got, back)
		}
	}
}
