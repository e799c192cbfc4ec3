package layer

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// envUnprivileged is set in a test binary that runs as an ordinary user, without
// a capability, and names the directory for what he has packed.
const envUnprivileged = "LAYER_TEST_UNPRIVILEGED"

// An ordinary user without a namespace gets the very layers that root of a
// namespace with all ids gets, whatever he may not do with his files.
func TestUnprivilegedUsersLayersAreRoots(t *testing.T) {
	if dir := os.Getenv(envUnprivileged); dir != "" {
		for _, flavor := range []Flavor{Stacked, VFS} {
			s := newStack(t, flavor)
			s.unprivileged = true
			for name, data := range s.ordeal() {
				must(t, os.WriteFile(filepath.Join(dir, string(flavor)+"-"+name), data, 0o600))
			}
			must(t, os.RemoveAll(s.dir)) // nothing in it may be beyond his reach
		}
		return
	}
	dir := asOrdinaryUser(t)
	for _, flavor := range []Flavor{Stacked, VFS} {
		as := flavor
		if flavor == Stacked {
			as = Overlay // mounted or not, the files are the same
		}
		for name, want := range newStack(t, as).ordeal() {
			got, err := os.ReadFile(filepath.Join(dir, string(flavor)+"-"+name))
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %s: other bytes than root's:\n%s", flavor, name, difference(want, got))
			}
		}
	}
}

// asOrdinaryUser runs the test again as one, and gives the directory that he may
// write to.
func asOrdinaryUser(t *testing.T) string {
	t.Helper()
	const id = 1000
	dir, err := os.MkdirTemp("", "layer-test-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chown(dir, id, id))
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), envUnprivileged+"="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id, NoSetGroups: true}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// ordeal makes layers of all that an ordinary user can't do, and gives them packed.
func (s *stack) ordeal() map[string][]byte {
	packs := map[string][]byte{}
	rule := TimeRule{Mode: TimeClamp, Epoch: 1e9 + 5e8}
	unpack := func(name string, headers ...tar.Header) {
		parent := s.tree()
		s.unpack(tarOf(s.t, headers...))
		if s.flavor != VFS { // which has nothing to compare with here
			packs[name] = packed(s.t, Upper(s.layers[0], parent, s.upperOptions()), rule)
		}
		packs[name+", whole"] = packed(s.t, Whole(s.tree()), rule)
	}
	unpack("base", base1()...)
	unpack("second", base2()...)
	packs["written"] = packed(s.t, s.write(func(w *DirWriter) { s.entries(w) }), rule)
	packs["written, whole"] = packed(s.t, Whole(s.tree()), rule)
	return packs
}

func base1() []tar.Header {
	return []tar.Header{
		owned(dirHeader("closed"), 0, 33, 34), owned(fileHeader("closed/none", "secret"), 0, 65535, 0),
		owned(dirHeader("readonly"), 0o555, 0, 0), owned(fileHeader("readonly/f", "r"), 0o444, 0, 0),
		owned(dirHeader("readonly/deep"), 0o111, 1, 0), owned(fileHeader("readonly/deep/g", "g"), 0o222, 0, 1),
		owned(dirHeader("tmp"), 0o1777, 0, 0), owned(dirHeader("mail"), 0o2775, 0, 8),
		owned(fileHeader("bin/su", "su"), 0o4755, 0, 0), owned(fileHeader("bin/crontab", "c"), 0o2755, 0, 105),
		attributed(fileHeader("bin/ping", "p"), capability, "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		attributed(owned(fileHeader("bin/mime", "m"), 0o444, 0, 0), "user.mime", "text"),
		attributed(dirHeader("d"), "user.d", "1"), fileHeader("d/a", "1"), dirHeader("d/sub"), owned(fileHeader("d/sub/b", "2"), 0o600, 7, 7),
		owned(symlinkHeader("link", "d/a"), 0o777, 9, 9), owned(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, 0o640, 5, 6),
		linkHeader("bin/su2", "bin/su"), linkHeader("readonly/none", "closed/none"), linkHeader("link2", "link"),
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666},
		owned(fileHeader("not\xffutf8", "x"), 0o640, 10, 11), owned(fileHeader("replaced", "x"), 0o400, 10, 11),
		owned(dirHeader("gone"), 0o500, 2, 2), owned(fileHeader("gone/f", "x"), 0o400, 2, 2), fileHeader("plain", "plain"),
	}
}

func base2() []tar.Header {
	return []tar.Header{
		fileHeader("closed/new", "n"), fileHeader("readonly/deep/.wh.g", ""), fileHeader(".wh.gone", ""),
		owned(dirHeader("d"), 0o750, 0, 3), fileHeader("d/.wh..wh..opq", ""), owned(fileHeader("d/c", "3"), 0o400, 0, 0),
		fileHeader("replaced", "root's"), linkHeader("hard", "bin/crontab"), fileHeader(".wh.pipe", ""),
		dirHeader("plain"), fileHeader("plain/f", "f"), owned(dirHeader("./"), 0o711, 0, 0),
	}
}

func owned(h tar.Header, mode int64, uid, gid int) tar.Header {
	h.Mode, h.Uid, h.Gid = mode, uid, gid
	return h
}

func attributed(h tar.Header, name, value string) tar.Header {
	h.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return h
}

// entries writes over the two layers what a COPY and an ADD could.
func (s *stack) entries(w *DirWriter) {
	own := func(e *Entry, mode int64, uid, gid uint32) *Entry {
		e.Mode, e.UID, e.GID = mode, uid, gid
		return e
	}
	caps := own(file("readonly/caps", "caps"), 0o755, 0, 0)
	caps.Xattrs = map[string]string{capability: "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	for _, e := range []*Entry{
		own(file("closed/deep/x", "x"), 0, 1000, 1000), own(file("readonly/f", "rewritten"), 0o444, 0, 0),
		own(file("readonly/deep/g", "back"), 0o644, 0, 0), own(file("gone/again", "1"), 0o200, 0, 0), caps,
		own(directory("mail"), 0o3700, 8, 8), own(file("bin/su", "mine"), 0o4711, 12, 0), own(file("hard/inside", "y"), 0o644, 0, 0),
		{Path: "bin/su3", Type: TypeLink, Linkname: "bin/su", ModTime: time.Unix(1e9, 0)},
		{Path: "bin/mime2", Type: TypeLink, Linkname: "bin/mime", ModTime: time.Unix(1e9, 0)},
		own(&Entry{Path: "s", Type: TypeSymlink, Linkname: "nowhere", ModTime: time.Unix(1e9, 0)}, 0o777, 4, 5),
		{Path: "s2", Type: TypeLink, Linkname: "s", ModTime: time.Unix(1e9, 0)},
		{Path: "d/c", Whiteout: true},
		{Path: "closed/none", Whiteout: true},
		own(directory("d/c"), 0o700, 0, 0),
	} {
		if e.Path == "hard/inside" {
			must(s.t, w.Remove("hard"))
		}
		must(s.t, w.Write(e))
	}
}

// What an ordinary user writes he can read back and remove, and nobody becomes him
// by it.
func TestUnprivilegedUsersFilesStayHis(t *testing.T) {
	for _, e := range []struct {
		typ        byte
		mode, want int64
	}{{TypeReg, 0, 0o600}, {TypeReg, 0o6755, 0o755}, {TypeReg, 0o444, 0o644}, {TypeDir, 0o1555, 0o755}, {TypeDir, 0, 0o700}} {
		if got := readable(&Entry{Type: e.typ, Mode: e.mode}); int64(got) != e.want {
			t.Errorf("%c %o becomes %o, not %o", e.typ, e.mode, got, e.want)
		}
	}
}

// Before Linux 5.8 the kernel lets an ordinary user make no whiteout.
func TestSocketsHideAsWhiteoutsDo(t *testing.T) {
	s := newStack(t, Stacked)
	s.unpack(tarOf(t, fileHeader("f", "1"), dirHeader("d"), fileHeader("d/x", "2"), fileHeader("g", "3")))
	layer := s.write(func(w *DirWriter) { must(t, w.Write(file("n", "4"))) })
	for _, name := range []string{"f", "d"} {
		must(t, unix.Mknod(filepath.Join(s.layers[0], name), unix.S_IFSOCK|0o600, 0))
	}
	if got, want := brief(t, s.tree()), "g=3 n=4"; got != want {
		t.Errorf("the tree is %s, not %s", got, want)
	}
	if got, want := listing(t, layer), "w d\nw f\nf n\n"; got != want {
		t.Errorf("the layer has %q, not %q", got, want)
	}
	w := NewDirWriter(s.layers[0], NewTree(s.layers[1:]), s.options())
	must(t, w.Write(file("d/y", "5")))
	must(t, w.Close())
	if got, want := brief(t, s.tree()), "d/ d/y=5 g=3 n=4"; got != want {
		t.Errorf("then the tree is %s, not %s", got, want)
	}
}
