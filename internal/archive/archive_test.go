package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, dir, name, as string) []byte {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	var b bytes.Buffer
	must(t, Pack(t.Context(), &b, Source{Dir: d, Name: name, As: as}))
	return b.Bytes()
}

func unpack(ctx context.Context, u *Unpacker, r io.Reader) error {
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.Close()
		}
		if err == nil {
			err = u.Add(ctx, h, in)
		}
		if err != nil {
			return errors.Join(err, u.Close())
		}
	}
}

func beneath(t *testing.T, dir string) *Unpacker {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	return Beneath(f)
}

func TestTreeComesBackAsItWas(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(from, "tree/closed"), 0o755))
	must(t, os.WriteFile(filepath.Join(from, "tree/file"), []byte("content"), 0o640))
	must(t, os.Link(filepath.Join(from, "tree/file"), filepath.Join(from, "tree/same")))
	must(t, os.Symlink("file", filepath.Join(from, "tree/link")))
	must(t, unix.Mkfifo(filepath.Join(from, "tree/pipe"), 0o600))
	must(t, os.WriteFile(filepath.Join(from, "tree/closed/inner"), nil, 0o4755))
	must(t, os.Chmod(filepath.Join(from, "tree/closed"), 0o555))
	defer func() { _ = os.Chmod(filepath.Join(from, "tree/closed"), 0o755) }()
	defer func() { _ = os.Chmod(filepath.Join(to, "tree/closed"), 0o755) }()

	must(t, unpack(t.Context(), beneath(t, to), bytes.NewReader(packed(t, from, "tree", "tree"))))
	var got, want []string
	for root, list := range map[string]*[]string{from: &want, to: &got} {
		must(t, filepath.WalkDir(root+"/tree", func(name string, d fs.DirEntry, err error) error {
			must(t, err)
			info, err := d.Info()
			must(t, err)
			link, _ := os.Readlink(name)
			*list = append(*list, strings.TrimPrefix(name, root)+" "+info.Mode().String()+" "+link)
			return nil
		}))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	a, err := os.Stat(filepath.Join(to, "tree/file"))
	must(t, err)
	b, err := os.Stat(filepath.Join(to, "tree/same"))
	must(t, err)
	if !os.SameFile(a, b) {
		t.Error("two names of one file have become two files")
	}
}

// tarOf makes a tar of entries by hand.
func tarOf(t *testing.T, headers ...*tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o755
		must(t, w.WriteHeader(h))
	}
	must(t, w.Close())
	return &b
}

func TestEntriesLeadNowhereElse(t *testing.T) {
	for name, headers := range map[string][]*tar.Header{
		"parents":          {{Name: "../out", Typeflag: tar.TypeReg}},
		"parents within":   {{Name: "a/../../out", Typeflag: tar.TypeReg}},
		"link":             {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "OUTSIDE"}, {Name: "l/out", Typeflag: tar.TypeReg}},
		"link to parent":   {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/out", Typeflag: tar.TypeReg}},
		"hard link":        {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}},
		"hard link by one": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "OUTSIDE"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/secret"}},
	} {
		for kind, open := range map[string]func(t *testing.T, dir string) *Unpacker{
			"beneath": beneath,
			"in root": func(t *testing.T, dir string) *Unpacker {
				root, err := OpenRoot(dir)
				must(t, err)
				t.Cleanup(func() { _ = root.Close() })
				return In(root, "/")
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				outside := t.TempDir()
				dir := filepath.Join(outside, "dir")
				must(t, os.Mkdir(dir, 0o755))
				must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600))
				var copied []*tar.Header
				for _, h := range headers {
					c := *h
					c.Linkname = strings.Replace(c.Linkname, "OUTSIDE", outside, 1)
					copied = append(copied, &c)
				}
				_ = unpack(t.Context(), open(t, dir), tarOf(t, copied...)) // whether it fails or stays inside
				names, err := os.ReadDir(outside)
				must(t, err)
				if len(names) != 2 {
					t.Errorf("outside there is %v", names)
				}
				if st, err := os.Stat(filepath.Join(outside, "secret")); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 1 {
					t.Errorf("the file outside has got another name, or is gone: %v", err)
				}
			})
		}
	}
}

func TestDirectoriesAndFilesDontReplaceEachOther(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	err := unpack(t.Context(), beneath(t, dir), tarOf(t, &tar.Header{Name: "dir", Typeflag: tar.TypeReg}))
	if err == nil || !strings.Contains(err.Error(), "cannot overwrite directory") {
		t.Errorf("a file over a directory: %v", err)
	}
	err = unpack(t.Context(), beneath(t, dir), tarOf(t, &tar.Header{Name: "file/", Typeflag: tar.TypeDir}))
	if err == nil || !strings.Contains(err.Error(), "cannot overwrite non-directory") {
		t.Errorf("a directory over a file: %v", err)
	}
}

// A program that exchanges a directory and a link to another place, as fast as it
// can, gets nothing of that place read or written.
func TestDevicesAreLeftOutAndTakeNoPlace(t *testing.T) {
	to := t.TempDir()
	must(t, os.WriteFile(filepath.Join(to, "null"), []byte("kept"), 0o600))
	u := beneath(t, to)
	for _, kind := range []byte{tar.TypeChar, tar.TypeBlock} {
		must(t, u.Add(t.Context(), &tar.Header{Typeflag: kind, Name: "null"}, nil))
	}
	must(t, u.Close())
	if got, err := os.ReadFile(filepath.Join(to, "null")); string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRacingLinksLeadNowhereElse(t *testing.T) {
	outside, top := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(outside, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(outside, "d/secret"), []byte("secret of the host"), 0o644))
	must(t, os.MkdirAll(filepath.Join(top, "a/d"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(top, "b")))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(top, "a"), unix.AT_FDCWD, filepath.Join(top, "b"), unix.RENAME_EXCHANGE)
		}
	}()
	defer func() { stop(); <-done }()
	root, err := OpenRoot(top)
	must(t, err)
	defer root.Close()
	for range 2000 {
		_ = unpack(t.Context(), In(root, "/a"), tarOf(t, &tar.Header{Name: "d/made", Typeflag: tar.TypeReg}))
		if dir, err := root.OpenDir("/a/d"); err == nil {
			var b bytes.Buffer
			err := Pack(t.Context(), &b, Source{Dir: dir, Name: ".", As: "."})
			_ = dir.Close()
			if err == nil && strings.Contains(b.String(), "secret of the host") {
				t.Fatal("the host's file was read")
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(outside, "d/made")); err == nil {
		t.Fatal("a file was made on the host")
	}
}

func TestPackEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := os.Open(t.TempDir())
	must(t, err)
	defer d.Close()
	if err := Pack(ctx, io.Discard, Source{Dir: d, Name: ".", As: "."}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
