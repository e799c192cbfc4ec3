package transport_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// FuzzLoad reads strange archives: what is taken must be whole, and of the rest
// nothing may be named.
func FuzzLoad(f *testing.F) {
	layerTar, config := string(rootTar(f, "x")), seedConfig(f)
	f.Add([]byte(nil))
	f.Add(gzipOf(f, []byte("x")))
	f.Add(archiveOf(f,
		file{name: "a/layer.tar", link: "../b/layer.tar"}, file{name: "b/layer.tar", content: layerTar}, file{name: "c.json", content: config},
		file{name: "manifest.json", content: `[{"Config":"c.json","RepoTags":["x:y"],"Layers":["a/layer.tar"]}]`},
	))
	f.Fuzz(func(t *testing.T, data []byte) { loadStrange(t, data) })
}

// FuzzLoadFiles puts strange files into an archive that is one.
func FuzzLoadFiles(f *testing.F) {
	id := digest.FromString("id").Encoded()
	config := seedConfig(f)
	manifest := `{"schemaVersion":2,"config":{"digest":"` + digest.FromString(config).String() + `","size":` + size(config) + `},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` +
		digest.FromBytes(rootTar(f, "x")).String() + `","size":` + size(string(rootTar(f, "x"))) + `}]}`
	index := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest.FromString(manifest).String() + `","size":` + size(manifest) +
		`,"annotations":{"io.containerd.image.name":"docker.io/library/a:b"}}]}`
	f.Add(index, `[{"Config":"c.json","RepoTags":["x:y"],"Layers":["a/layer.tar"]}]`, "", config, manifest, "a/layer.tar", "../b/layer.tar", "")
	f.Add("", `[{"Config":"c.json","RepoTags":["<none>:<none>"],"Layers":["a/layer.tar"]}]`, "", config, manifest, "a/layer.tar", "../b/layer.tar", "linux/amd64")
	f.Add(index, "", "", config, manifest, "a", "/a", "linux/arm64/v8")
	f.Add("", "", `{"x":{"y":"`+id+`"}}`, `{"parent":"","os":"linux","config":{"Cmd":["x"]}}`, "{}", id+"/layer.tar", "../b/layer.tar", "")
	f.Fuzz(func(t *testing.T, index, docker, repositories, config, manifest, name, target, platform string) {
		files := []file{
			{name: "b/layer.tar", content: string(rootTar(t, "x"))},
			{name: name, link: target},
			{name: "c.json", content: config},
			{name: id + "/json", content: config},
			{name: "blobs/sha256/" + digest.FromString(config).Encoded(), content: config},
			{name: "blobs/sha256/" + digest.FromBytes(rootTar(t, "x")).Encoded(), content: string(rootTar(t, "x"))},
			{name: "blobs/sha256/" + digest.FromString(manifest).Encoded(), content: manifest},
			{name: "oci-layout", content: "{}"},
		}
		for name, content := range map[string]string{"index.json": index, "manifest.json": docker, "repositories": repositories} {
			if content != "" {
				files = append(files, file{name: name, content: content})
			}
		}
		if data, ok := tarOf(files); ok {
			loadStrange(t, data, platform)
		}
	})
}

// tarOf gives an archive, if tar can tell of such names.
func tarOf(files []file) ([]byte, bool) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if w.WriteHeader(h) != nil {
			return nil, false
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			return nil, false
		}
	}
	return b.Bytes(), w.Close() == nil
}

func seedConfig(t testing.TB) string {
	return `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digest.FromBytes(rootTar(t, "x")).String() + `"]}}`
}

func size(text string) string { return string(strconv.AppendInt(nil, int64(len(text)), 10)) }

func loadStrange(t *testing.T, data []byte, platform ...string) {
	base := "/dev/shm" // thousands of layouts wear out a disk
	if _, err := os.Stat(base); err != nil {
		base = t.TempDir()
	}
	dir, err := os.MkdirTemp(base, "load")
	must(t, err)
	defer func() { must(t, os.RemoveAll(dir)) }()
	l := layout.Open(filepath.Join(dir, "images"), filepath.Join(dir, "lock")).WithFreed(filepath.Join(dir, "freed"))
	must(t, l.Create())
	o := transport.Options{Layout: l, Session: "fuzz", TempDir: dir}
	if len(platform) > 0 {
		o.Platform = platform[0]
	}
	loaded, err := transport.Load(ctx, bytes.NewReader(data), o)
	images, listErr := l.List()
	must(t, listErr)
	if err != nil {
		if len(images) > 0 {
			t.Errorf("named all the same: %+v, %v", images, err)
		}
		return
	}
	if len(loaded) == 0 || len(images) == 0 {
		t.Errorf("nothing was loaded, without an error: %q", data)
	}
	for _, img := range loaded {
		config, err := l.Config(img.Image)
		must(t, err)
		m, err := l.Manifest(img.Image)
		must(t, err)
		if len(m.Layers) != len(config.RootFS.DiffIDs) {
			t.Errorf("%d layers, %d diffIDs", len(m.Layers), len(config.RootFS.DiffIDs))
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if n := e.Name(); n != "images" && n != "lock" && n != "freed" {
			t.Errorf("made outside: %s", n)
		}
	}
}
