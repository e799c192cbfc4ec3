package transport_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func TestSavedImagesAreLoadedAsTheyWere(t *testing.T) {
	for _, format := range []string{transport.DockerArchive, transport.OCIArchive} {
		t.Run(format, func(t *testing.T) {
			from, to := newOptions(t), newOptions(t)
			one := makeImage(t, from.Layout, []string{"app:v1", "quay.io/x/app"}, layout.FormatOCI, "amd64", "shared", "one")
			two := makeImage(t, from.Layout, []string{"other"}, layout.FormatDocker, "amd64", "shared", "two")
			bare := makeImage(t, from.Layout, nil, layout.FormatOCI, "amd64", "bare")
			images, err := from.Layout.List()
			must(t, err)
			var archive bytes.Buffer
			must(t, transport.Save(ctx, images, &archive, format, from))
			if again := saved(t, images, format, from); !bytes.Equal(again, archive.Bytes()) {
				t.Error("the same images give other bytes")
			}
			if names := tarNames(t, archive.Bytes()); len(names) != len(slices.Compact(slices.Sorted(slices.Values(names)))) {
				t.Errorf("written twice: %q", names)
			}
			loaded, err := transport.Load(ctx, &archive, to)
			must(t, err)
			if len(loaded) != 4 {
				t.Errorf("loaded %+v", loaded)
			}
			for ref, want := range map[string]layout.Image{"app:v1": one, "quay.io/x/app": one, "other": two, bare.ID.String(): bare} {
				got, err := to.Layout.Find(ref)
				if err != nil || got.ID != want.ID || got.Manifest.Digest != want.Manifest.Digest {
					t.Errorf("%s: %+v, %v", ref, got, err)
				}
			}
		})
	}
}

func saved(t *testing.T, images []layout.Image, format string, o transport.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, transport.Save(ctx, images, &b, format, o))
	return b.Bytes()
}

func tarNames(t *testing.T, data []byte) []string {
	t.Helper()
	var names []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		must(t, err)
		names = append(names, h.Name)
	}
}

func TestOtherToolsReadWhatIsSaved(t *testing.T) {
	o := newOptions(t)
	img := makeImage(t, o.Layout, []string{"app:v1"}, layout.FormatOCI, "amd64", "one", "two")
	dir := t.TempDir()
	images := []layout.Image{img}
	must(t, os.WriteFile(dir+"/oci.tar", saved(t, images, transport.OCIArchive, o), 0o644))
	must(t, os.WriteFile(dir+"/docker.tar", saved(t, images, transport.DockerArchive, o), 0o644))
	if got := digestIn(t, "oci-archive:"+dir+"/oci.tar:docker.io/library/app:v1"); got != img.Manifest.Digest.String() {
		t.Errorf("skopeo finds %s in the OCI archive, not %s", got, img.Manifest.Digest)
	}
	run(t, "skopeo", "copy", "-q", "docker-archive:"+dir+"/docker.tar:docker.io/library/app:v1", "dir:"+dir+"/dir")
	if _, err := os.Stat(filepath.Join(dir, "dir", img.ID.Encoded())); err != nil {
		t.Errorf("skopeo's copy has another config: %v", err)
	}
}

func TestArchivesOfOtherToolsAreLoaded(t *testing.T) {
	from := newOptions(t)
	img := makeImage(t, from.Layout, []string{"app:v1"}, layout.FormatOCI, "amd64", "one", "two", "one")
	source := "oci:" + from.Layout.Dir() + ":app:v1"
	dir := t.TempDir()
	run(t, "skopeo", "copy", "-q", source, "docker-archive:"+dir+"/docker.tar:quay.io/x/app:v2")
	run(t, "skopeo", "copy", "-q", source, "oci-archive:"+dir+"/oci.tar:quay.io/x/app:v2")
	for _, tool := range []string{"gzip", "zstd", "bzip2", "xz"} {
		out, err := exec.Command(tool, "-c", dir+"/docker.tar").Output()
		must(t, err)
		must(t, os.WriteFile(dir+"/docker.tar."+tool, out, 0o644))
	}
	for _, name := range []string{"docker.tar", "oci.tar", "docker.tar.gzip", "docker.tar.zstd", "docker.tar.bzip2", "docker.tar.xz"} {
		t.Run(name, func(t *testing.T) {
			o := newOptions(t)
			f, err := os.Open(filepath.Join(dir, name))
			must(t, err)
			defer f.Close()
			loaded, err := transport.Load(ctx, f, o)
			must(t, err)
			if len(loaded) != 1 || loaded[0].Name != "quay.io/x/app:v2" {
				t.Fatalf("loaded %+v", loaded)
			}
			config, err := o.Layout.Config(loaded[0].Image)
			must(t, err)
			original, err := from.Layout.Config(img)
			must(t, err)
			if !slices.Equal(config.RootFS.DiffIDs, original.RootFS.DiffIDs) {
				t.Errorf("diffIDs %q, want %q", config.RootFS.DiffIDs, original.RootFS.DiffIDs)
			}
			run(t, "skopeo", "copy", "-q", "oci:"+o.Layout.Dir()+":quay.io/x/app:v2", "dir:"+t.TempDir()+"/dir")
		})
	}
}

// file is a member of an archive made by hand.
type file struct{ name, content, link string }

func archiveOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(f.content))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func TestAnOldDockerArchiveMayLinkItsLayers(t *testing.T) {
	layerTar := string(rootTar(t, "x"))
	diffID := digest.FromString(layerTar).String()
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + diffID + `","` + diffID + `"]}}`
	o := newOptions(t)
	loaded, err := transport.Load(ctx, bytes.NewReader(archiveOf(t,
		file{name: "a/VERSION", content: "1.0"},
		file{name: "a/layer.tar", link: "../b/layer.tar"},
		file{name: "b/layer.tar", content: layerTar},
		file{name: "c.json", content: config},
		file{name: "manifest.json", content: `[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]`},
	)), o)
	must(t, err)
	if len(loaded) != 1 || loaded[0].Name != "" || loaded[0].ID != digest.FromString(config) {
		t.Errorf("loaded %+v", loaded)
	}
	m, err := o.Layout.Manifest(loaded[0].Image)
	if err != nil || len(m.Layers) != 2 || m.Layers[0].Digest.String() != diffID {
		t.Errorf("manifest %+v, %v", m, err)
	}
}

func TestBadArchivesAreRefused(t *testing.T) {
	from := newOptions(t)
	img := makeImage(t, from.Layout, []string{"app"}, layout.FormatOCI, "amd64", strings.Repeat("one", 1000))
	whole := saved(t, []layout.Image{img}, transport.DockerArchive, from)
	spoilt := bytes.Replace(whole, []byte("\x1f\x8b"), []byte("\x1f\x8c"), 1)
	other := digest.FromString("another layer").String()
	tests := map[string]struct {
		data  []byte
		cause string
	}{
		"nothing":                 {nil, "not an archive of images"},
		"garbage":                 {[]byte(strings.Repeat("garbage", 1000)), "not an archive of images"},
		"a root file system":      {rootTar(t, "x"), "neither an index.json nor a manifest.json"},
		"cut off":                 {whole[:len(whole)/2], "ends in the middle"},
		"spoilt":                  {spoilt, "doesn't have the digest"},
		"a layer is missing":      {archiveOf(t, file{name: "manifest.json", content: `[{"Config":"c","Layers":["l"]}]`}), `"c" is missing`},
		"links in a circle":       {archiveOf(t, file{name: "c", link: "d"}, file{name: "d", link: "c"}, file{name: "manifest.json", content: `[{"Config":"c"}]`}), `"c" is a link that leads through more than 40 others`},
		"no JSON":                 {archiveOf(t, file{name: "manifest.json", content: `[`}), "manifest.json"},
		"other layers":            {archiveOf(t, file{name: "c", content: `{"os":"linux","architecture":"x","rootfs":{"diff_ids":["` + other + `"]}}`}, file{name: "l", content: "l"}, file{name: "manifest.json", content: `[{"Config":"c","Layers":["l"]}]`}), "doesn't have the digest " + other},
		"a diffID that is a path": {archiveOf(t, file{name: "c", content: `{"os":"linux","architecture":"x","rootfs":{"diff_ids":["sha256:../../x"]}}`}, file{name: "l", content: "l"}, file{name: "manifest.json", content: `[{"Config":"c","Layers":["l"]}]`}), "no sha256 digest"},
		"an escaping link":        {archiveOf(t, file{name: "c", link: "../../../../etc/passwd"}, file{name: "manifest.json", content: `[{"Config":"c"}]`}), `"c" is a link to "../../../../etc/passwd", which leads out of the archive`},
		"an index of nothing":     {archiveOf(t, file{name: "oci-layout", content: "{}"}, file{name: "index.json", content: `{"manifests":[]}`}), "names no image"},
		"a bad digest by name":    {archiveOf(t, file{name: "blobs/sha256/../../x", content: "x"}, file{name: "manifest.json", content: `[]`}), "manifest.json names no image"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			o := newOptions(t)
			_, err := transport.Load(ctx, bytes.NewReader(tt.data), o)
			if tt.cause != "" && (err == nil || !strings.Contains(err.Error(), tt.cause)) {
				t.Errorf("Load: %v, want %q", err, tt.cause)
			}
			if strings.HasPrefix(tt.cause, "not an") && fault.Remedy(err) == "" {
				t.Error("no remedy")
			}
			free := noted(t, o.Layout)
			blobs, err := filepath.Glob(o.Layout.Dir() + "/blobs/sha256/*")
			must(t, err)
			for _, path := range blobs {
				if !slices.Contains(free, "sha256:"+filepath.Base(path)) {
					t.Errorf("left behind: %s", path)
				}
			}
		})
	}
}

func TestAnImageMayBeThereByAnotherManifest(t *testing.T) {
	o := newOptions(t)
	layerTar := string(rootTar(t, "x"))
	packed := string(gzipOf(t, []byte(layerTar)))
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digest.FromString(layerTar).String() + `"]}}`
	for _, content := range []string{layerTar, packed, layerTar} {
		loaded, err := transport.Load(ctx, bytes.NewReader(archiveOf(t,
			file{name: "l", content: content}, file{name: "c", content: config},
			file{name: "manifest.json", content: `[{"Config":"c","Layers":["l"]}]`},
		)), o)
		if err != nil || len(loaded) != 1 || loaded[0].ID != digest.FromString(config) {
			t.Errorf("loaded %+v, %v", loaded, err)
		}
	}
}

func TestAFailedLoadTakesNothingFromOthers(t *testing.T) {
	from, o := newOptions(t), newOptions(t)
	img := makeImage(t, from.Layout, []string{"app"}, layout.FormatOCI, "amd64", strings.Repeat("one", 1000))
	whole := saved(t, []layout.Image{img}, transport.OCIArchive, from)
	m, err := from.Layout.Manifest(img)
	must(t, err)

	// While the load goes on, another command finds the layer there; the load
	// fails, and the other goes on to name an image of it.
	spoilt := bytes.Replace(whole, []byte(`"manifests":`), []byte(`"manifestz":`), 1)
	if _, err := transport.Load(ctx, bytes.NewReader(spoilt), o); err == nil {
		t.Fatal("a spoilt archive was loaded")
	}
	if !o.Layout.HasBlob(m.Layers[0].Digest, m.Layers[0].Size) {
		t.Error("a blob was taken away under the hands of another command")
	}
	if free := noted(t, o.Layout); !slices.Contains(free, m.Layers[0].Digest.String()) {
		t.Errorf("it stays for good: %q", free)
	}
}

func TestALoadNotesWhatNoImageNeeds(t *testing.T) {
	from, o := newOptions(t), newOptions(t)
	img := makeImage(t, from.Layout, []string{"app"}, layout.FormatOCI, "amd64", "one")
	_, err := transport.Load(ctx, bytes.NewReader(saved(t, []layout.Image{img}, transport.OCIArchive, from)), o)
	must(t, err)
	if free := noted(t, o.Layout); len(free) > 0 {
		t.Errorf("noted as free: %q", free)
	}
	more := archiveOf(t, file{name: "VERSION", content: "1.0"}, file{name: "c", content: `{"os":"linux","architecture":"x","rootfs":{}}`},
		file{name: "manifest.json", content: `[{"Config":"c"}]`})
	_, err = transport.Load(ctx, bytes.NewReader(more), o)
	must(t, err)
	if free := noted(t, o.Layout); len(free) != 1 || free[0] != digest.FromString("1.0").String() {
		t.Errorf("noted as free: %q", free)
	}
}

func TestADamagedBlobIsNotSaved(t *testing.T) {
	o := newOptions(t)
	img := makeImage(t, o.Layout, []string{"app"}, layout.FormatOCI, "amd64", "one")
	m, err := o.Layout.Manifest(img)
	must(t, err)
	path := o.Layout.BlobPath(m.Layers[0].Digest)
	data, err := os.ReadFile(path)
	must(t, err)
	data[0]++
	must(t, os.WriteFile(path, data, 0o644))
	for range 2 { // damaged, and then missing
		err := transport.Save(ctx, []layout.Image{img}, io.Discard, transport.OCIArchive, o)
		if !errors.Is(err, layout.ErrAbsent) || fault.Remedy(err) == "" {
			t.Errorf("Save: %v, remedy %q", err, fault.Remedy(err))
		}
		_ = os.Remove(path)
	}
	if err := transport.Save(ctx, nil, io.Discard, "cpio", o); err == nil {
		t.Error("an unknown format is taken")
	}
}

// Who is told to end doesn't read a large entry to its end first.
func TestReadingEndsWithTheContext(t *testing.T) {
	for what, read := range map[string]func(context.Context, io.Reader, transport.Options) error{
		"load": func(ctx context.Context, r io.Reader, o transport.Options) error {
			_, err := transport.Load(ctx, r, o)
			return err
		},
		"import": func(ctx context.Context, r io.Reader, o transport.Options) error {
			_, err := transport.Import(ctx, r, transport.ImportOptions{Options: o})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			endless := endlessTar{cancel: cancel}
			if err := read(ctx, &endless, newOptions(t)); !errors.Is(err, context.Canceled) {
				t.Errorf("%v after %d bytes", err, endless.read)
			}
			if endless.read > 100<<20 {
				t.Errorf("%d bytes were read", endless.read)
			}
		})
	}
}

// endlessTar is a tar whose one entry is 4 GiB of zeros. It cancels after some
// of them.
type endlessTar struct {
	cancel func()
	read   int
}

func (e *endlessTar) Read(p []byte) (int, error) {
	clear(p)
	if e.read == 0 {
		var head bytes.Buffer
		if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "large", Mode: 0o600, Size: 4 << 30, Format: tar.FormatGNU}); err != nil {
			return 0, err
		}
		p = p[:copy(p, head.Bytes())]
	}
	if e.read += len(p); e.read > 10<<20 {
		e.cancel()
	}
	if e.read > 1<<30 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

func TestImport(t *testing.T) {
	plain := rootTar(t, "hello", strings.Repeat("x", 3<<20))
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/root.tar", plain, 0o644))
	for _, tool := range []string{"cat", "gzip", "zstd", "bzip2", "xz"} {
		t.Run(tool, func(t *testing.T) {
			args := []string{"-c", dir + "/root.tar"}
			if tool == "cat" {
				args = args[1:]
			}
			packed, err := exec.Command(tool, args...).Output()
			must(t, err)
			o := newOptions(t)
			id, err := transport.Import(ctx, bytes.NewReader(packed), transport.ImportOptions{
				Options: o, Name: "base:v1", Source: "-", Created: time.Unix(1700000000, 0),
				Change: func(c *layout.ImageConfig) error { c.Config.Cmd = []string{"sh"}; return nil },
			})
			must(t, err)
			img, err := o.Layout.Find("base:v1")
			must(t, err)
			c, err := o.Layout.Config(img)
			must(t, err)
			if img.ID != id || img.Size != int64(len(plain)) || c.History[0].Comment != "Imported from -" || c.Config.Cmd[0] != "sh" || c.Created.Unix() != 1700000000 {
				t.Errorf("imported %+v, config %+v", img, c)
			}
			bundle := t.TempDir() + "/bundle"
			run(t, "umoci", "unpack", "--rootless", "--image", o.Layout.Dir()+":base:v1", bundle)
			if content, err := os.ReadFile(bundle + "/rootfs/file0"); err != nil || string(content) != "hello" {
				t.Errorf("unpacked: %q, %v", content, err)
			}
		})
	}
}

func TestImportTakesAnEmptyTarballButNoOtherThing(t *testing.T) {
	o := newOptions(t)
	if _, err := transport.Import(ctx, bytes.NewReader(make([]byte, 10240)), transport.ImportOptions{Options: o, Name: "empty"}); err != nil {
		t.Errorf("empty tarball: %v", err)
	}
	for what, data := range map[string][]byte{
		"not a tarball: it is empty": nil, "not a tarball: ": bytes.Repeat([]byte("garbage"), 1000),
		`the tarball ends in the middle of entry "file0"`:        rootTar(t, strings.Repeat("x", 100000))[:50000],
		`entry "../x": the name leads out`:                       archiveOf(t, file{name: "../x", content: "x"}),
		`entry "x": it is a hard link to "a/../../etc/passwd"`:   hardLink(t, "x", "a/../../etc/passwd"),
		`the tarball is damaged after entry "file0"`:             damagedTar(t),
		"not a tarball: unexpected EOF":                          []byte("\x1f\x8bgarbage"),
		`the tarball ends in the middle of entry "file0": unexp`: gzipOf(t, rootTar(t, strings.Repeat("x", 1000000)))[:900],
	} {
		_, err := transport.Import(ctx, bytes.NewReader(data), transport.ImportOptions{Options: o, Name: "bad"})
		if err == nil || !strings.Contains(err.Error(), what) || fault.Remedy(err) == "" {
			t.Errorf("%s: %v, remedy %q", what, err, fault.Remedy(err))
		}
	}
	if _, err := o.Layout.Find("bad"); !errors.Is(err, layout.ErrUnknown) {
		t.Errorf("named all the same: %v", err)
	}
}

func hardLink(t *testing.T, name, target string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}))
	must(t, w.Close())
	return b.Bytes()
}

// damagedTar has a header that isn't one behind its first file.
func damagedTar(t *testing.T) []byte {
	t.Helper()
	data := rootTar(t, "x", "y")
	copy(data[1024:], strings.Repeat("?", 512))
	return data
}

func gzipOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	must(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

func TestATarballCompressedByGzipIsTheBlob(t *testing.T) {
	o := newOptions(t)
	plain := rootTar(t, "hello", strings.Repeat("x", 3<<20))
	packed := append(gzipOf(t, plain[:1000]), gzipOf(t, plain[1000:])...)
	_, err := transport.Import(ctx, bytes.NewReader(packed), transport.ImportOptions{Options: o, Name: "base"})
	must(t, err)
	img, err := o.Layout.Find("base")
	must(t, err)
	m, err := o.Layout.Manifest(img)
	must(t, err)
	c, err := o.Layout.Config(img)
	must(t, err)
	if m.Layers[0].Digest != digest.FromBytes(packed) || c.RootFS.DiffIDs[0] != digest.FromBytes(plain) || img.Size != int64(len(plain)) {
		t.Errorf("layer %+v, config %+v, size %d", m.Layers[0], c.RootFS, img.Size)
	}
}
