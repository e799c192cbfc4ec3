package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/copy"
	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/manifest"
	ocilayout "github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// Push copies an image to dest and gives its descriptor there. The destination is
// a name in a registry, with or without docker://, or
//
//	oci:DIR[:NAME]  dir:DIR  oci-archive:FILE[:NAME]  docker-archive:FILE[:NAME]
//	containers-storage:NAME
//
// A name in a registry may have the image's own digest in place of a tag.
//
// Blobs go as they are, unless a Conversion asks for others; into a registry, none
// goes that is there or that it can mount from another of its repositories. The
// digest stays, but for an image of docker's format that goes into an OCI layout.
func Push(ctx context.Context, img layout.Image, dest string, o Options) (v1.Descriptor, error) {
	scheme, rest, found := strings.Cut(dest, ":")
	if found {
		switch scheme {
		case "oci", "dir":
			return o.pushTo(ctx, img, scheme, rest)
		case "oci-archive", "docker-archive":
			return img.Manifest, o.pushArchive(ctx, img, scheme, rest)
		case storageTransport:
			return img.Manifest, o.toStorage(ctx, img, rest)
		}
	}
	r, err := o.remote(dest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	pushed, err := o.pushRegistry(ctx, img, r)
	if err != nil {
		return pushed, err
	}
	return pushed, o.Layout.NotePushed(ctx, r.name, img.ID, pushed.Digest)
}

// pushTo copies into a directory of another tool's kind.
func (o Options) pushTo(ctx context.Context, img layout.Image, scheme, path string) (v1.Descriptor, error) {
	sys, err := o.system()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if scheme == "dir" {
		ref, err := directory.NewReference(path)
		if err != nil {
			return v1.Descriptor{}, err
		}
		return o.copyTo(ctx, img, ref, sys, true)
	}
	ref, err := ocilayout.ParseReference(path)
	if err != nil {
		return v1.Descriptor{}, err
	}
	dir, _, _ := strings.Cut(path, ":")
	if sameFile(dir, o.Layout.Dir()) {
		return v1.Descriptor{}, fault.New("give it a name there: builder tag", "%s is the directory of builder's own images", dir)
	}
	isOCI := img.Manifest.MediaType == v1.MediaTypeImageManifest && !o.All
	return o.copyTo(ctx, img, ref, sys, isOCI)
}

func sameFile(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// pushArchive writes FILE[:NAME].
func (o Options) pushArchive(ctx context.Context, img layout.Image, format, dest string) (err error) {
	path, name, named := strings.Cut(dest, ":")
	if named {
		if img.Name, err = layout.ParseName(name); err != nil {
			return err
		}
	}
	return o.writeArchive(ctx, img, format, path)
}

// writeArchive writes an archive aside and renames it.
func (o Options) writeArchive(ctx context.Context, img layout.Image, format, path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), atomicfile.Prefix+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = Save(ctx, []layout.Image{img}, f, format, o)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// copyTo lets the library copy an image, from a layout that holds nothing but
// this image and shares the blobs.
func (o Options) copyTo(ctx context.Context, img layout.Image, dest types.ImageReference,
	sys *types.SystemContext, keepDigest bool,
) (_ v1.Descriptor, err error) {
	target, selection := img.Manifest, copy.CopySystemImage
	if o.All {
		if target, err = o.pushed(img); err != nil {
			return v1.Descriptor{}, err
		}
		selection = copy.CopyAllImages
	}
	dir, err := o.stage(target)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, err := ocilayout.NewReference(dir, "")
	if err != nil {
		return v1.Descriptor{}, err
	}
	// policy.json is about images from others.
	rules, err := signature.NewPolicyContext(acceptAll())
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, rules.Destroy()) }()

	from := *sys
	from.OCISharedBlobDirPath = o.Layout.BlobsDir()
	from.OSChoice, from.ArchitectureChoice, from.VariantChoice = "", "", ""
	events, wait := o.relay(img.ID)
	raw, err := copy.Image(ctx, rules, dest, source, &copy.Options{
		SourceCtx: &from, DestinationCtx: sys,
		PreserveDigests: keepDigest, ImageListSelection: selection, ProgressInterval: progressPause, Progress: events,
	})
	close(events)
	wait()
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, err := manifest.Digest(raw)
	return v1.Descriptor{MediaType: manifest.GuessMIMEType(raw), Digest: d, Size: int64(len(raw))}, err
}

// stage makes a layout in the temporary directory whose index.json names a manifest
// alone.
func (o Options) stage(target v1.Descriptor) (string, error) {
	dir, err := os.MkdirTemp(o.TempDir, "push-*")
	if err != nil {
		return "", err
	}
	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{target},
	})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{v1.ImageIndexFile: index, v1.ImageLayoutFile: []byte(ociLayoutFile)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", fmt.Errorf("%w (and %w)", err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// relay turns the library's events into ours, but for those of the config. wait
// returns when the channel has been closed and emptied.
func (o Options) relay(config digest.Digest) (events chan types.ProgressProperties, wait func()) {
	kinds := map[types.ProgressEvent]EventKind{
		types.ProgressEventNewArtifact: Started,
		types.ProgressEventRead:        Progress,
		types.ProgressEventDone:        Done,
		types.ProgressEventSkipped:     Exists,
	}
	events = make(chan types.ProgressProperties)
	done := make(chan struct{})
	r := o.reporter()
	go func() {
		defer close(done)
		for e := range events {
			if kind, ok := kinds[e.Event]; ok && e.Artifact.Digest != config {
				r.tell(Event{Kind: kind, Digest: e.Artifact.Digest, Size: e.Artifact.Size, Offset: int64(e.Offset)})
			}
		}
	}()
	return events, func() { <-done }
}
