package layout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// writeIndex writes index.json as another tool does.
func writeIndex(t testing.TB, l *layout.Layout, manifests ...string) {
	t.Helper()
	text := `{"schemaVersion":2,"manifests":[` + strings.Join(manifests, ",") + `]}`
	must(t, os.WriteFile(indexPath(l), []byte(text), 0o644))
}

func indexPath(l *layout.Layout) string { return filepath.Join(l.Dir(), v1.ImageIndexFile) }

// descriptor is one as other tools write it.
func descriptor(mediaType string, d digest.Digest, size int64, name string) string {
	text, _ := json.Marshal(v1.Descriptor{MediaType: mediaType, Digest: d, Size: size, Annotations: map[string]string{v1.AnnotationRefName: name}})
	return string(text)
}

// put stores a manifest, index or config of any kind.
func put(t testing.TB, l *layout.Layout, value any) v1.Descriptor {
	t.Helper()
	text, ok := value.([]byte)
	if !ok {
		var err error
		text, err = json.Marshal(value)
		must(t, err)
	}
	d, err := l.PutBlob(context.Background(), bytes.NewReader(text))
	must(t, err)
	return d
}

// strangers are descriptors that mean no image, by what is wrong with each.
func strangers(t testing.TB, l *layout.Layout, good v1.Descriptor) map[string]string {
	t.Helper()
	const manifestType, indexType = v1.MediaTypeImageManifest, v1.MediaTypeImageIndex
	layer, _ := putLayer(t, l, "layer")
	large := put(t, l, slices.Concat([]byte(`{"os":"linux","x":"`), bytes.Repeat([]byte("x"), 5<<20), []byte(`"}`)))
	withConfig := func(d v1.Descriptor) v1.Descriptor {
		d.MediaType = v1.MediaTypeImageConfig
		return put(t, l, v1.Manifest{MediaType: manifestType, Config: d})
	}
	layerConfig, largeConfig := withConfig(layer), withConfig(large)
	path := withConfig(v1.Descriptor{Digest: "sha256:../../../../etc/passwd", Size: 1})
	inner := put(t, l, v1.Index{MediaType: indexType, Manifests: []v1.Descriptor{good}})
	inner.MediaType = indexType
	nested := put(t, l, v1.Index{MediaType: indexType, Manifests: []v1.Descriptor{inner}})
	empty := put(t, l, v1.Index{MediaType: indexType})
	artifact := withConfig(put(t, l, []byte("{}")))
	return map[string]string{
		"no object":               `5`,
		"numbers for strings":     `{"mediaType":1,"digest":2,"size":"3"}`,
		"a number's annotation":   `{"digest":"` + good.Digest.String() + `","annotations":{"org.opencontainers.image.ref.name":7}}`,
		"a missing manifest":      descriptor(manifestType, digest.FromString("nothing"), 7, "missing"),
		"a path for a digest":     descriptor(manifestType, "sha256:../../../../../../etc/passwd", 7, "path"),
		"another size":            descriptor(manifestType, good.Digest, good.Size+1, "wrong-size"),
		"an empty digest":         descriptor(manifestType, "", 7, "empty-digest"),
		"another algorithm":       descriptor(manifestType, digest.Digest("sha512:"+strings.Repeat("0", 128)), 7, "sha512"),
		"a layer for a config":    descriptor(manifestType, layerConfig.Digest, layerConfig.Size, "layer-config"),
		"a config that is large":  descriptor(manifestType, largeConfig.Digest, largeConfig.Size, "large-config"),
		"a path for a config":     descriptor(manifestType, path.Digest, path.Size, "path-config"),
		"a layer for a manifest":  descriptor(manifestType, layer.Digest, layer.Size, "layer"),
		"an index for a manifest": descriptor(manifestType, inner.Digest, inner.Size, "index"),
		"a manifest for an index": descriptor(indexType, good.Digest, good.Size, "manifest"),
		"an index in an index":    descriptor(indexType, nested.Digest, nested.Size, "nested"),
		"an empty index":          descriptor(indexType, empty.Digest, empty.Size, "empty"),
		"an artifact":             descriptor(manifestType, artifact.Digest, artifact.Size, "artifact"),
		"forged annotations": `{"mediaType":"` + manifestType + `","digest":"` + digest.FromString("x").String() + `","size":1,"annotations":{` +
			`"org.opencontainers.image.ref.name":"forged","io.github.builder-oci.of":"` + digest.FromString("x").Encoded()[:12] +
			`","io.github.builder-oci.id":"no digest"}}`,
	}
}

func TestStrangeDescriptorsLeaveTheRestAsItIs(t *testing.T) {
	l := newLayout(t)
	id := commit(t, l, []string{"good:v1"}, "one")
	img, err := l.Find("good:v1")
	must(t, err)
	for what, text := range strangers(t, l, img.Manifest) {
		t.Run(what, func(t *testing.T) {
			writeIndex(t, l, text, descriptor(img.Manifest.MediaType, img.Manifest.Digest, img.Manifest.Size, "good:v1"))
			if got, want := listing(t, l), []string{"good:v1 " + id.Encoded()[:12]}; !slices.Equal(got, want) {
				t.Errorf("List: %q, not %q", got, want)
			}
			must(t, l.Tag(context.Background(), "good:v1", "other:v2"))
			if kept, err := os.ReadFile(indexPath(l)); err != nil || !bytes.Contains(kept, []byte(text)) {
				t.Errorf("the descriptor isn't kept as it was (%v):\n%s", err, kept)
			}
			if got := listing(t, l); len(got) != 2 {
				t.Errorf("after Tag: %q", got)
			}
			canBeTakenOff(t, l, text)
		})
	}
}

// canBeTakenOff finds a broken descriptor by its name: what is said of it tells
// how to be rid of it, and that works.
func canBeTakenOff(t *testing.T, l *layout.Layout, text string) {
	t.Helper()
	var d v1.Descriptor
	if json.Unmarshal([]byte(text), &d) != nil || d.Annotations[v1.AnnotationRefName] == "" {
		return
	}
	name := d.Annotations[v1.AnnotationRefName]
	_, err := l.Find(name)
	if !errors.Is(err, layout.ErrUnknown) || !strings.Contains(err.Error(), "is in index.json, but") || !strings.Contains(fault.Remedy(err), "builder rmi "+name) {
		t.Errorf("Find: %v, remedy %q", err, fault.Remedy(err))
	}
	done, err := l.Remove(context.Background(), name, layout.RemoveOptions{})
	if err != nil || !slices.Equal(done.Untagged, []string{name}) || done.ID != "" {
		t.Errorf("Remove: %v, %v", done, err)
	}
	if got := listing(t, l); len(got) != 2 {
		t.Errorf("after Remove: %q", got)
	}
	if left, _ := os.ReadFile(indexPath(l)); bytes.Contains(left, []byte(`"`+name+`"`)) {
		t.Errorf("it is still there:\n%s", left)
	}
}

// A tool that writes in place cuts the file off first, and may be slow then.
func TestAnIndexThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	l := newLayout(t)
	commit(t, l, []string{"good"}, "one")
	whole, err := os.ReadFile(indexPath(l))
	must(t, err)
	must(t, os.WriteFile(indexPath(l), whole[:len(whole)/2], 0o644))
	written := make(chan error)
	time.AfterFunc(300*time.Millisecond, func() { written <- os.WriteFile(indexPath(l), whole, 0o644) })
	if _, err := l.Find("good"); err != nil {
		t.Error(err)
	}
	must(t, <-written)

	// One that has been so for long is damaged, and so is what is no beginning.
	must(t, os.WriteFile(indexPath(l), whole[:len(whole)/2], 0o644))
	old := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(indexPath(l), old, old))
	for _, text := range []string{"", "[]"} {
		begun := time.Now()
		if _, err := l.List(); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", text, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%q: it took %s", text, took)
		}
		must(t, os.WriteFile(indexPath(l), []byte("[]"), 0o644))
	}
}

func TestANameOfWhatIsGoneGoesToTheNextImage(t *testing.T) {
	l := newLayout(t)
	writeIndex(t, l, descriptor(v1.MediaTypeImageManifest, digest.FromString("gone"), 7, "app"))
	id := commit(t, l, []string{"app"}, "one")
	if got, want := listing(t, l), []string{"app:latest " + id.Encoded()[:12]}; !slices.Equal(got, want) {
		t.Errorf("List: %q, not %q", got, want)
	}
	if all, err := l.Descriptors(); err != nil || len(all) != 1 {
		t.Errorf("index.json has %v, %v", all, err)
	}
}

func TestNamesThatCouldSteerATerminalAreNotShown(t *testing.T) {
	l := newLayout(t)
	id := commit(t, l, []string{"good"}, "one")
	img, err := l.Find("good")
	must(t, err)
	names := []string{"\x1b[2Jevil", "a b", "line\nfeed", "ünï", "\u202eright-to-left", "\u009b2J", "\x7f"}
	var manifests []string
	for _, name := range names {
		manifests = append(manifests, descriptor(img.Manifest.MediaType, img.Manifest.Digest, img.Manifest.Size, name))
	}
	writeIndex(t, l, manifests...)
	images, err := l.List()
	must(t, err)
	for _, i := range images {
		if i.ID != id || i.Name != "" {
			t.Errorf("listed: %q %s", i.Name, i.ID)
		}
	}
	// They stay, and are found by what stands there.
	must(t, l.Tag(context.Background(), id.String(), "named"))
	for _, name := range names {
		if found, err := l.Find(name); err != nil || found.ID != id {
			t.Errorf("Find(%q): %v", name, err)
		}
	}
}

func TestIndexesThatAreNoFilesOrTooLarge(t *testing.T) {
	for what, makeIt := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"129 MiB": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 129<<20))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLayout(t)
			must(t, os.Remove(indexPath(l)))
			must(t, makeIt(indexPath(l)))
			begun := time.Now()
			_, err := l.List()
			if err == nil || !strings.Contains(err.Error(), "damaged") || fault.Remedy(err) == "" {
				t.Errorf("List: %v", err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The same few blobs may stand under thousands of names: each is read once.
func TestThousandsOfBrokenDescriptorsAreReadOnce(t *testing.T) {
	l := newLayout(t)
	large := put(t, l, bytes.Repeat([]byte(" "), 4<<20))
	var manifests []string
	for i := range 5000 { // 20 GB, were it read as often
		manifests = append(manifests, descriptor(v1.MediaTypeImageManifest, large.Digest, large.Size, fmt.Sprintf("broken:%d", i)))
	}
	writeIndex(t, l, manifests...)
	begun := time.Now()
	if got := listing(t, l); len(got) != 0 {
		t.Errorf("listed: %q", got)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAnImageOfTenThousandLayers(t *testing.T) {
	l := newLayout(t)
	d, diffID := putLayer(t, l, "one")
	cfg := &layout.ImageConfig{OS: "linux", Architecture: "amd64"}
	var layers []v1.Descriptor
	for range 10_000 {
		layers, cfg.RootFS.DiffIDs = append(layers, d), append(cfg.RootFS.DiffIDs, diffID)
	}
	manifest, id, err := layout.WriteImage(context.Background(), l, cfg, layers, layout.FormatOCI, nil)
	must(t, err)
	writeIndex(t, l, descriptor(manifest.MediaType, manifest.Digest, manifest.Size, "deep"))
	if got, want := listing(t, l), []string{"deep:latest " + id.Encoded()[:12]}; !slices.Equal(got, want) {
		t.Errorf("List: %q, not %q", got, want)
	}
	must(t, l.Tag(context.Background(), "deep", "deeper"))
	_, err = l.Remove(context.Background(), "deep", layout.RemoveOptions{})
	must(t, err)
}
