package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestTreeShowsWhatAMountShows holds the merged view against real mounts.
func TestTreeShowsWhatAMountShows(t *testing.T) {
	for _, flavor := range flavors[:2] {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			s := newStack(t, flavor)
			s.run(shell(t, base))
			for _, step := range steps {
				// Each step goes on where the last one left off, as far as it can.
				s.run(func(root string) {
					cmd := exec.Command("/bin/sh", "-c", step.script)
					cmd.Dir = root
					_ = cmd.Run()
				})
			}
			upper := s.mkdir("upper")
			must(t, InitRoot(upper, s.tree(), s.options()))
			same(t, treeList(t, s.tree(), true), dirList(t, s.mount(upper), true))
		})
	}
}

// TestUnpackMakesTheTreeThatWasPacked unpacks each layer where it was made and
// under the other drivers.
func TestUnpackMakesTheTreeThatWasPacked(t *testing.T) {
	made := newStack(t, Overlay)
	baseTar := packed(t, made.run(shell(t, base)), TimeRule{})
	for _, step := range steps {
		t.Run(strings.ReplaceAll(step.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			from := newStack(t, Overlay)
			from.layers = made.layers
			layer := packed(t, from.run(shell(t, step.script)), TimeRule{})
			want := treeList(t, from.tree(), false)
			for _, flavor := range flavors {
				s := newStack(t, flavor)
				s.unpack(baseTar)
				s.unpack(layer)
				t.Log(flavor)
				same(t, treeList(t, s.tree(), false), want)
			}
		})
	}
}

// TestGNUTarUnpacksALayer is an outside witness for the tar's form.
func TestGNUTarUnpacksALayer(t *testing.T) {
	s := newStack(t, Overlay)
	layer := packed(t, s.run(shell(t, base+steps[len(steps)-2].script+"\n"+nasty)), TimeRule{})
	dir := t.TempDir()
	cmd := exec.Command("tar", "-x", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "--warning=no-timestamp", "-C", dir)
	cmd.Stdin = bytes.NewReader(layer)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	same(t, dirList(t, dir, true)[1:], treeList(t, s.tree(), true)[1:])
}

// TestUmociUnpacksLayers is an outside witness for whiteouts and hard links.
func TestUmociUnpacksLayers(t *testing.T) {
	if _, err := exec.LookPath("umoci"); err != nil {
		t.Skip("umoci is not installed: apt-get install umoci")
	}
	s := newStack(t, Overlay)
	layers := [][]byte{packed(t, s.run(shell(t, base)), TimeRule{})}
	for _, step := range steps {
		layers = append(layers, packed(t, s.run(func(root string) {
			cmd := exec.Command("/bin/sh", "-c", step.script)
			cmd.Dir = root
			_ = cmd.Run()
		}), TimeRule{}))
	}
	image := layout(t, layers)
	out, err := exec.Command("umoci", "raw", "unpack", "--image", image+":x", s.dir+"/rootfs").CombinedOutput()
	if err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	same(t, dirList(t, s.dir+"/rootfs", false)[1:], treeList(t, s.tree(), false)[1:])
}

// nasty makes what tars and file systems stumble over.
const nasty = `
	mkdir nasty; cd nasty
	long=$(printf 'd%.0s' $(seq 90)); mkdir -p $long/$long/$long; echo long > $long/$long/$long/$long$long
	ln -s $long/$long/$long/$long$long linkname; ln $long/$long/$long/$long$long second
	echo x > "$(printf 'byte\001\177\377')"; ln -s "$(printf '\376')" raw
	echo x > .whiteout; echo x > wh.; echo '' > ' '; echo x > 'trailing '
	mkdir -p empty; : > nothing; chmod 0 nothing; chmod 07777 empty
	truncate -s 1M sparse; echo end >> sparse
	touch -d 1901-12-13T20:45:52Z ancient; touch -d 2242-03-16T12:56:32Z far; touch -d 1969-12-31T23:59:59.9Z fraction
	cp /bin/true suid; chown 65535:65534 suid; chmod 6755 suid; setcap cap_net_raw,cap_sys_admin+ep suid
	setfattr -n user.empty empty; setfattr -n user.binary -v 0x000aff3d20 suid; setfattr -n 'user.long.name.with space' -v v suid
	mkfifo fifo; ln fifo fifo2
`

func layout(t *testing.T, layers [][]byte) string {
	t.Helper()
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	must(t, os.MkdirAll(blobs, 0o755))
	put := func(mediaType string, data []byte) v1.Descriptor {
		d := digest.FromBytes(data)
		must(t, os.WriteFile(filepath.Join(blobs, d.Encoded()), data, 0o644))
		return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	putJSON := func(mediaType string, v any) v1.Descriptor {
		data, err := json.Marshal(v)
		must(t, err)
		return put(mediaType, data)
	}
	config := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{MediaType: v1.MediaTypeImageManifest}
	manifest.SchemaVersion = 2
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
		manifest.Layers = append(manifest.Layers, put(v1.MediaTypeImageLayer, l))
	}
	manifest.Config = putJSON(v1.MediaTypeImageConfig, config)
	m := putJSON(v1.MediaTypeImageManifest, manifest)
	m.Annotations = map[string]string{v1.AnnotationRefName: "x"}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{m}}
	index.SchemaVersion = 2
	data, err := json.Marshal(index)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "index.json"), data, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return dir
}

// treeList tells all that a layer keeps of each entry of a tree, without the
// times of directories where dirTimes isn't set.
func treeList(t *testing.T, tree *Tree, dirTimes bool) []string {
	t.Helper()
	var list []string
	must(t, tree.Walk("", func(n *Node) error {
		var content io.Reader = strings.NewReader("")
		if n.Type == TypeReg {
			f, err := tree.Open(n.Path)
			must(t, err)
			defer func() { _ = f.Close() }()
			content = f
		}
		list = append(list, line(t, &n.Entry, content, dirTimes))
		return nil
	}))
	return list
}

// dirList is treeList for a real directory, read without this package's means.
func dirList(t *testing.T, root string, dirTimes bool) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		must(t, err)
		rel, err := filepath.Rel(root, p)
		must(t, err)
		fi, err := os.Lstat(p)
		must(t, err)
		if fi.Mode()&fs.ModeSocket != 0 {
			return nil
		}
		var link string
		if fi.Mode()&fs.ModeSymlink != 0 {
			link, err = os.Readlink(p)
			must(t, err)
		}
		h, err := tar.FileInfoHeader(fi, link)
		must(t, err)
		e := &Entry{
			Path: strings.TrimPrefix(rel, "."), Type: h.Typeflag, Mode: h.Mode, UID: uint32(h.Uid), GID: uint32(h.Gid),
			Size: h.Size, ModTime: fi.ModTime(), Linkname: link, Xattrs: fileXattrs(t, p),
		}
		if strings.HasPrefix(rel, ".") && rel != "." {
			e.Path = rel
		}
		var content io.Reader = strings.NewReader("")
		if h.Typeflag == tar.TypeReg {
			f, err := os.Open(p)
			must(t, err)
			defer func() { _ = f.Close() }()
			content = f
		}
		list = append(list, line(t, e, content, dirTimes))
		return nil
	}))
	return list
}

func fileXattrs(t *testing.T, p string) map[string]string {
	t.Helper()
	buf, value := make([]byte, 4096), make([]byte, 4096)
	n, err := unix.Llistxattr(p, buf)
	must(t, err)
	attrs := map[string]string{}
	for _, name := range strings.Split(string(buf[:n]), "\x00") {
		if KeepXattr(name) {
			m, err := unix.Lgetxattr(p, name, value)
			must(t, err)
			attrs[name] = string(value[:m])
		}
	}
	return attrs
}

func line(t *testing.T, e *Entry, content io.Reader, dirTimes bool) string {
	t.Helper()
	h := sha256.New()
	_, err := io.Copy(h, content)
	must(t, err)
	when := e.ModTime.UTC().Truncate(time.Second).Format(time.RFC3339)
	if e.Type == TypeDir && !dirTimes {
		when = ""
	}
	var attrs []string
	for name, value := range e.Xattrs {
		attrs = append(attrs, fmt.Sprintf("%s=%q", name, value))
	}
	slices.Sort(attrs)
	return fmt.Sprintf("%q %c %04o %d:%d %d %s %q %v %x", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Size, when, e.Linkname, attrs, h.Sum(nil)[:4])
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("has   %s", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("lacks %s", l)
		}
	}
}
