package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

// Adopt takes up an image of another OCI layout on disk, without giving it a
// name. ref is its directory, with :TAG or @DIGEST behind it where the layout
// holds more than one image. Every blob that isn't here yet is checked. Only what
// names the image is set of the result.
func Adopt(ctx context.Context, ref string, o Options) (layout.Image, error) {
	dir, tag, want := splitLayoutRef(ref)
	found, err := describedIn(dir, tag, want)
	if err != nil {
		return layout.Image{}, err
	}
	wanted, err := platform.Parse(o.Platform)
	if err != nil {
		return layout.Image{}, err
	}
	a := &adoption{ctx: ctx, from: layout.Open(dir, ""), to: o.layout()}
	manifest, multi, err := a.from.Resolve(found, wanted)
	var m *v1.Manifest
	if err == nil {
		m, err = a.from.Manifest(layout.Image{Manifest: manifest})
	}
	if err == nil {
		err = o.suitsManifest(a.from, m)
	}
	if err == nil {
		err = a.take(manifest, m, multi)
	}
	if err != nil {
		return layout.Image{}, fmt.Errorf("the OCI layout %s: %w", dir, err)
	}
	if err := a.to.Commit(ctx, nil, manifest, multi); err != nil {
		return layout.Image{}, err
	}
	// The same image may be here already, with its layers packed in another way,
	// or with others, by a manifest that lies: it isn't taken in place of this one.
	return layout.Image{ID: m.Config.Digest, Manifest: manifest, Index: multi}, nil
}

// splitLayoutRef splits DIR[:TAG] or DIR[@DIGEST].
func splitLayoutRef(ref string) (dir, tag string, want digest.Digest) {
	if at := strings.LastIndex(ref, "@"); at >= 0 && digest.Digest(ref[at+1:]).Validate() == nil {
		return ref[:at], "", digest.Digest(ref[at+1:])
	}
	at := strings.LastIndex(ref, ":")
	if at < 0 || strings.Contains(ref[at:], "/") {
		return ref, "", ""
	}
	return ref[:at], ref[at+1:], ""
}

// describedIn finds an image in the index.json of a layout. Without a tag or a
// digest it is the only one, or else the one that is called latest.
func describedIn(dir, tag string, want digest.Digest) (v1.Descriptor, error) {
	file, err := os.Open(filepath.Join(dir, v1.ImageIndexFile))
	if err != nil {
		return v1.Descriptor{}, fault.New("name the directory that holds oci-layout, index.json and blobs", "the OCI layout %s: %w", dir, err)
	}
	defer file.Close()
	var index v1.Index
	if err := json.NewDecoder(file).Decode(&index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("the OCI layout %s: %s: %w", dir, v1.ImageIndexFile, err)
	}
	if len(index.Manifests) == 1 && tag == "" && want == "" {
		return index.Manifests[0], nil
	}
	if tag == "" {
		tag = "latest"
	}
	var names []string
	for _, d := range index.Manifests {
		name := d.Annotations[v1.AnnotationRefName]
		if want != "" && d.Digest == want || want == "" && (name == tag || strings.HasSuffix(name, ":"+tag)) {
			return d, nil
		}
		names = append(names, name+"@"+d.Digest.String())
	}
	wanted := ":" + tag
	if want != "" {
		wanted = "@" + want.String()
	}
	return v1.Descriptor{}, fault.New("it holds "+strings.Join(names, ", "), "the OCI layout %s holds no image %s", dir, wanted)
}

// adoption copies the blobs of one image.
type adoption struct {
	ctx      context.Context
	from, to *layout.Layout
}

func (a *adoption) take(manifest v1.Descriptor, m *v1.Manifest, multi *v1.Descriptor) error {
	small := []v1.Descriptor{manifest, m.Config}
	if multi != nil {
		small = append(small, *multi)
	}
	for _, d := range small {
		data, err := a.from.ReadBlob(d.Digest)
		if err != nil {
			return err
		}
		if _, err := a.to.PutBytes(a.ctx, data); err != nil {
			return err
		}
	}
	for _, d := range m.Layers {
		if err := a.blob(d); err != nil {
			return err
		}
	}
	return nil
}

func (a *adoption) blob(d v1.Descriptor) error {
	if a.to.HasBlob(d.Digest, d.Size) {
		return nil
	}
	f, err := a.from.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := a.to.PutBlob(a.ctx, f)
	if err == nil && got.Digest != d.Digest {
		err = errors.Join(fmt.Errorf("%w: %s", layout.ErrAbsent, d.Digest), a.to.NoteFree(layout.Free{Blobs: []digest.Digest{got.Digest}}))
	}
	return err
}
