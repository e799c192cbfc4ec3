package context

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		text := "text of " + h.Name
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchivesAreToldFromDockerfiles(t *testing.T) {
	plain := archiveOf(t, tar.Header{Name: "file", Typeflag: tar.TypeReg})
	pax := archiveOf(t, tar.Header{Name: strings.Repeat("long/", 60) + "é", Typeflag: tar.TypeReg})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(plain)
	_ = z.Close()
	for name, test := range map[string]struct {
		head []byte
		want bool
	}{
		"nothing":         {nil, false},
		"a short text":    {[]byte("FROM scratch\n"), false},
		"a long text":     {[]byte("FROM scratch\n" + strings.Repeat("# comment\n", 500)), false},
		"tar":             {plain, true},
		"an extended tar": {pax, true},
		"its beginning":   {pax[:600], true},
		"an empty tar":    {make([]byte, 1024), true},
		"gzip":            {zipped.Bytes(), true},
		"short gzip":      {zipped.Bytes()[:3], true},
		"bzip2":           {[]byte("BZh91AY"), true},
		"xz":              {[]byte("\xfd7zXZ\x00\x00\x04"), true},
		"zstd":            {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0}, true},
	} {
		if got := IsArchive(test.head); got != test.want {
			t.Errorf("%s: %v, not %v", name, got, test.want)
		}
	}
}

func TestUnpackKeepsModesTimesAndLinks(t *testing.T) {
	dir := t.TempDir()
	then := time.Unix(1234567890, 0)
	data := archiveOf(t,
		tar.Header{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o710, ModTime: then},
		tar.Header{Name: "dir/run", Typeflag: tar.TypeReg, Mode: 0o4751, Uid: 7, ModTime: then},
		tar.Header{Name: "/rooted", Typeflag: tar.TypeReg, Mode: 0o666, ModTime: then},
		tar.Header{Name: "other", Typeflag: tar.TypeLink, Linkname: "./dir/run"},
		tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", ModTime: then},
		tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622},
		tar.Header{Name: "twice", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "twice", Typeflag: tar.TypeReg, Mode: 0o644},
	)
	if _, err := unpack(context.Background(), bytes.NewReader(data), dir); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{
		"dir": unix.S_IFDIR | 0o710, "dir/run": unix.S_IFREG | 0o4751, "rooted": unix.S_IFREG | 0o666,
		"other": unix.S_IFREG | 0o4751, "link": unix.S_IFLNK | 0o777, "pipe": unix.S_IFIFO | 0o622, "twice": unix.S_IFREG | 0o644,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if st.Mode != mode {
			t.Errorf("%s has the mode %o, not %o", name, st.Mode, mode)
		}
		if (name == "dir" || name == "dir/run" || name == "link") && st.Mtim.Nano() != then.UnixNano() {
			t.Errorf("%s has the time %d", name, st.Mtim.Sec)
		}
	}
}

func TestUnpackMakesDirectoriesThatTheArchiveLacks(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir := t.TempDir()
	data := archiveOf(t, tar.Header{Name: "a/b/file", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "c/d/", Typeflag: tar.TypeDir, Mode: 0o750})
	if _, err := unpack(context.Background(), bytes.NewReader(data), dir); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"a": 0o755, "a/b": 0o755, "a/b/file": 0o644, "c": 0o755, "c/d": 0o750} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestUnpackIsNotHeldUpByFIFOs(t *testing.T) {
	data := archiveOf(t,
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "b", Typeflag: tar.TypeSymlink, Linkname: "a"},
		tar.Header{Name: "b/x/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "a/x", Typeflag: tar.TypeFifo, Mode: 0o644},
	)
	done := make(chan error, 1)
	go func() { _, err := unpack(context.Background(), bytes.NewReader(data), t.TempDir()); done <- err }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for somebody to write")
	}
}

func TestUnpackRefusesWhatLeadsOut(t *testing.T) {
	for name, test := range map[string]struct {
		headers []tar.Header
		want    string
	}{
		"a name":           {[]tar.Header{{Name: "a/../../out", Typeflag: tar.TypeReg}}, "leads out"},
		"a hard link":      {[]tar.Header{{Name: "a", Typeflag: tar.TypeLink, Linkname: "../out"}}, "leads out"},
		"a directory":      {[]tar.Header{{Name: "..", Typeflag: tar.TypeDir}}, "leads out"},
		"through a link":   {[]tar.Header{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "a/out", Typeflag: tar.TypeReg}}, "escapes"},
		"a link to a link": {[]tar.Header{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/"}, {Name: "b", Typeflag: tar.TypeLink, Linkname: "a/etc/passwd"}}, "escapes"},
		"a device":         {[]tar.Header{{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "device file dev/null"},
		"the root":         {[]tar.Header{{Name: ".", Typeflag: tar.TypeReg}}, "is a directory"},
	} {
		above := t.TempDir()
		dir := filepath.Join(above, "context")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := unpack(context.Background(), bytes.NewReader(archiveOf(t, test.headers...)), dir)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, not %q", name, err, test.want)
		}
		if entries, _ := os.ReadDir(above); len(entries) != 1 {
			t.Errorf("%s: it has left something outside: %v", name, entries)
		}
	}
}

func TestRemoteContextsAreKnownByTheirName(t *testing.T) {
	for ref, want := range map[string]bool{
		".": false, "dir": false, "./github.com/a/b": false, "/abs/dir.git": false, "C:dir": false,
		"-": true, "https://example.com/x": true, "http://example.com/x.tar.gz": true,
		"https://example.com/x.git": true, "git://example.com/x": true, "ssh://git@example.com/x": true,
		"git@example.com:a/b.git": true, "github.com/a/b": true, "https://example.com/x.git?colour=red": true,
	} {
		if got := IsRemote(ref); got != want {
			t.Errorf("%s: %v", ref, got)
		}
	}
}

func TestNamedAddressIsOneFile(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/files/data.tar", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "whatever")
	}))
	defer server.Close()
	for path, want := range map[string]string{"/a/b.txt?x=y": "b.txt", "/moved": "data.tar", "/": "download", "/..": "download"} {
		got, err := Fetcher{Dir: t.TempDir()}.FetchFile(context.Background(), server.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(got.Dir, want)); err != nil || string(text) != "whatever" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("not an archive"))
	f.Add(make([]byte, 1024))
	f.Add(archiveOf(f,
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg},
		tar.Header{Name: "c", Typeflag: tar.TypeSymlink, Linkname: "../.."}, tar.Header{Name: "d", Typeflag: tar.TypeLink, Linkname: "a/b"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "context")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = unpack(ctx, bytes.NewReader(data), dir)
		if entries, _ := os.ReadDir(above); len(entries) != 1 {
			t.Errorf("it has left something outside: %v", entries)
		}
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { _ = os.Chmod(path, 0o700); return nil })
	})
}
