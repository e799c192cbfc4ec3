package layout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

// FuzzLayout writes an index.json of any kind over a layout that holds an image,
// and does to it all that commands do. GOOD, INDEX and BLOBS in the text stand for
// what the layout holds.
func FuzzLayout(f *testing.F) {
	l := newLayout(f)
	id := commit(f, l, []string{"good"}, "one")
	img, err := l.Find("good")
	must(f, err)
	multi := put(f, l, v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{img.Manifest}})
	good, index := img.Manifest.Digest.String(), multi.Digest.String()
	tidy, err := os.ReadFile(indexPath(l))
	must(f, err)
	f.Add(strings.ReplaceAll(string(tidy), good, "GOOD"))
	for _, text := range strangers(f, l, img.Manifest) {
		f.Add(`{"manifests":[` + strings.ReplaceAll(text, good, "GOOD") + `]}`)
	}
	f.Add(`{"manifests":[{"mediaType":"` + v1.MediaTypeImageIndex + `","digest":"INDEX","size":1,"annotations":{"org.opencontainers.image.ref.name":"a"}}]}`)

	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return // FuzzIndex reads such; here it would be read again and again, as one that is being written
		}
		text = strings.ReplaceAll(strings.ReplaceAll(text, "GOOD", good), "INDEX", index)
		must(t, os.WriteFile(indexPath(l), []byte(text), 0o644))
		images, err := l.List()
		if err != nil {
			return // it is damaged, as a whole
		}
		for _, i := range images {
			checkListed(t, l, i)
		}
		if err := l.Tag(context.Background(), id.String(), "tagged"); err != nil {
			if !errors.Is(err, layout.ErrUnknown) {
				t.Errorf("Tag: %v", err)
			}
			return
		}
		if found, err := l.Find("tagged"); err != nil || found.ID != id {
			t.Errorf("Find after Tag: %s, %v", found.ID, err)
		}
		if _, err := l.Remove(context.Background(), id.String(), layout.RemoveOptions{Force: true}); err != nil {
			t.Errorf("Remove: %v", err)
		}
		if _, err := l.Find(id.String()); !errors.Is(err, layout.ErrUnknown) {
			t.Errorf("Find after Remove: %v", err)
		}
	})
}

// checkListed holds an image of a listing to what callers count on.
func checkListed(t *testing.T, l *layout.Layout, i layout.Image) {
	t.Helper()
	if i.ID.Validate() != nil || i.Target().Digest.Validate() != nil || i.Manifest.Digest.Validate() != nil {
		t.Errorf("listed with what is no digest: %+v", i)
	}
	if name, err := layout.ParseName(i.Name); i.Name != "" && (err != nil || name != i.Name) {
		t.Errorf("listed with what is no name: %q, %v", i.Name, err)
	}
	if i.Size < 0 {
		t.Errorf("listed with %d bytes", i.Size)
	}
	if _, err := l.Find(i.ID.String()); err != nil {
		t.Errorf("listed, but not found: %v", err)
	}
}

// FuzzManifest takes up an image by a manifest and a config of any kind. CONFIG
// and LAYER in the manifest stand for digests of what the layout holds.
func FuzzManifest(f *testing.F) {
	l := newLayout(f)
	layer, _ := putLayer(f, l, "one")
	f.Add(`{"config":{"digest":"CONFIG","size":1},"layers":[{"digest":"LAYER","size":1}]}`, `{"os":"linux","rootfs":{"diff_ids":["`+layer.Digest.String()+`"]}}`)
	f.Add(`{"manifests":[{"digest":"CONFIG","platform":{"os":"linux","architecture":"amd64"}}]}`, `{"manifests":[{"digest":"LAYER"}]}`)
	f.Add(`{"config":{"digest":"sha256:../x"},"layers":[{"digest":"x"},{"size":-1,"annotations":{"io.github.builder-oci.uncompressed-size":"-5"}}]}`, `{}`)
	f.Fuzz(func(t *testing.T, manifest, config string) {
		c := put(t, l, []byte(config))
		m := put(t, l, []byte(strings.NewReplacer("CONFIG", c.Digest.String(), "LAYER", layer.Digest.String()).Replace(manifest)))
		for _, mediaType := range []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex} {
			writeIndex(t, l, descriptor(mediaType, m.Digest, m.Size, "any"))
			images, err := l.List()
			must(t, err)
			for _, i := range images {
				checkListed(t, l, i)
				if _, err := l.Config(i); err != nil {
					t.Errorf("listed with a config that can't be read: %v", err)
				}
				if _, err := l.Manifest(i); err != nil {
					t.Errorf("listed with a manifest that can't be read: %v", err)
				}
			}
		}
		must(t, os.Remove(l.BlobPath(m.Digest)))
	})
}

// FuzzConfig reads a config of any kind. What was read can be written, and reads
// the same.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]},"history":[{"created_by":"RUN x"}]}`))
	f.Add([]byte(`{"created":"0000-01-01T00:00:00+23:59","config":{"Env":null,"Healthcheck":{"Interval":-1},"Labels":{"":""}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := layout.ParseConfig(data)
		if err != nil {
			return
		}
		for _, d := range config.RootFS.DiffIDs {
			if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
				t.Errorf("diffID %q", d)
			}
		}
		first, err := config.Marshal(layout.FormatDocker)
		if err != nil {
			return // it lacks what it needs
		}
		again, err := layout.ParseConfig(first)
		must(t, err)
		second, err := again.Marshal(layout.FormatDocker)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v: %s\nthen: %s", err, first, second)
		}
	})
}
