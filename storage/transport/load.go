package transport

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// largestMeta is how much is read of index.json or manifest.json in an archive.
const largestMeta = 16 << 20

// Load takes up the images of an archive that docker, podman, skopeo, buildkit
// or builder saved: docker-archive (old and new) or oci-archive, compressed or
// not. It gives them under the names that the archive tells, as often as they
// have names; one without a name is kept without.
//
// The archive is read once, front to back, straight into the layout: r may be a
// pipe, and nothing is unpacked aside. Every blob is checked.
func Load(ctx context.Context, r io.Reader, o Options) (_ []layout.Image, err error) {
	plain, _, err := layer.Decompress(r)
	if err != nil {
		return nil, notArchive(err)
	}
	defer plain.Close()
	a := &archive{ctx: ctx, options: o, layout: o.layout(), files: map[string]v1.Descriptor{}, links: map[string]string{}, meta: map[string][]byte{}}
	defer func() { err = errors.Join(err, a.noteUnneeded()) }()
	if err := a.read(plain); err != nil {
		return nil, err
	}
	images, err := a.images()
	if err != nil {
		return nil, err
	}
	return a.commit(images)
}

func notArchive(err error) error {
	return fault.New("builder load reads what docker save, podman save or builder save have written;\n"+
		"for the tarball of a root file system: builder import", "not an archive of images: %w", err)
}

func cutShort(err error) error {
	return fault.New("transfer it again", "the archive ends in the middle: %w", err)
}

// noteUnneeded notes the blobs that no image turned out to need. They stay for
// now: another command may have found them there, and be about to name them.
func (a *archive) noteUnneeded() error {
	free, err := a.layout.Unreferenced(a.added)
	if err != nil || len(free) == 0 {
		return err
	}
	return a.layout.NoteFree(free)
}

// archive is what has been read of an archive.
type archive struct {
	ctx     context.Context
	options Options
	layout  *layout.Layout
	files   map[string]v1.Descriptor // path to the blob that the file has become
	links   map[string]string        // path to path
	meta    map[string][]byte        // small files that aren't blobs
	added   []digest.Digest
}

// read takes in all files of the archive.
func (a *archive) read(r io.Reader) error {
	t := tar.NewReader(r)
	for entries := 0; ; entries++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && entries > 0 {
			return nil
		}
		if err != nil && entries == 0 {
			return notArchive(err)
		}
		if err == nil {
			err = a.entry(h, t)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return cutShort(err)
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
}

func (a *archive) entry(h *tar.Header, r io.Reader) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	name := path.Clean(strings.TrimPrefix(h.Name, "/"))
	switch h.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = path.Join(path.Dir(name), h.Linkname)
	case tar.TypeLink:
		a.links[name] = path.Clean(h.Linkname)
	case tar.TypeReg:
		return a.file(name, h.Size, r)
	}
	return nil
}

// file makes a file a blob, whatever it is: what manifest.json says of it may
// come last.
func (a *archive) file(name string, size int64, r io.Reader) error {
	switch name {
	case v1.ImageIndexFile, v1.ImageLayoutFile, dockerManifestFile:
		data, err := io.ReadAll(io.LimitReader(r, largestMeta))
		a.meta[name] = data
		return err
	}
	want := digest.Digest("")
	if hex, ok := strings.CutPrefix(name, blobsDir); ok {
		want = digest.NewDigestFromEncoded(digest.SHA256, hex)
	}
	d, err := a.store(want, size, r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.files[name] = d
	return nil
}

// store makes what r gives a blob, unless a large one is there already.
func (a *archive) store(want digest.Digest, size int64, r io.Reader) (v1.Descriptor, error) {
	const small = 4 << 20 // could be a manifest or a config, which may be there but damaged
	if want != "" {
		if err := a.layout.Lease(want); err != nil {
			return v1.Descriptor{}, err
		}
	}
	if want != "" && size > small && a.layout.HasBlob(want, size) {
		a.options.reporter().tell(Event{Kind: Exists, Digest: want, Size: size, Offset: size})
		return v1.Descriptor{Digest: want, Size: size}, nil
	}
	w, err := a.layout.NewBlobWriter(a.options.Session)
	if err != nil {
		return v1.Descriptor{}, err
	}
	blob := v1.Descriptor{Digest: want, Size: size}
	from := &progressReader{reporter: a.options.reporter(), from: r, blob: blob}
	digester := digest.SHA256.Digester()
	if _, err := io.CopyBuffer(io.MultiWriter(w, digester.Hash()), from, make([]byte, copyBuffer)); err != nil {
		return blob, errors.Join(err, w.Cancel())
	}
	blob.Digest = digester.Digest()
	if want != "" && want != blob.Digest {
		return blob, errors.Join(errors.New("the content doesn't have the digest that its name says"), w.Cancel())
	}
	if err := a.layout.Lease(blob.Digest); err != nil {
		return blob, errors.Join(err, w.Cancel())
	}
	if size > small && a.layout.HasBlob(blob.Digest, size) {
		return blob, w.Cancel()
	}
	if !a.layout.HasBlob(blob.Digest, size) {
		a.added = append(a.added, blob.Digest)
	}
	return blob, w.Commit(blob.Digest)
}

// loaded is an image to be named.
type loaded struct {
	names    []string // canonical
	manifest v1.Descriptor
	index    *v1.Descriptor
}

// images finds the images: by the OCI layout where there is a whole one, else
// by docker's manifest.json.
func (a *archive) images() ([]loaded, error) {
	_, isOCI := a.meta[v1.ImageLayoutFile]
	docker, isDocker := a.meta[dockerManifestFile]
	if index, ok := a.meta[v1.ImageIndexFile]; ok && isOCI {
		images, err := a.ociImages(index)
		if err == nil && len(images) > 0 || !isDocker {
			return images, err
		}
	}
	if !isDocker && a.hasBlobs() {
		return nil, cutShort(errors.New("index.json and manifest.json are missing"))
	}
	if !isDocker {
		return nil, notArchive(errors.New("it has neither an index.json nor a manifest.json"))
	}
	return a.dockerImages(docker)
}

// hasBlobs tells whether there was the beginning of an OCI layout. A tar that
// ends between two files looks whole.
func (a *archive) hasBlobs() bool {
	for name := range a.files {
		if strings.HasPrefix(name, blobsDir) {
			return true
		}
	}
	return false
}

// ociImages reads the index.json of an OCI layout.
func (a *archive) ociImages(data []byte) ([]loaded, error) {
	var index v1.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, notArchive(fmt.Errorf("index.json: %w", err))
	}
	want, err := platform.Parse(a.options.Platform)
	if err != nil {
		return nil, err
	}
	var images []loaded
	for _, d := range index.Manifests {
		manifest, multi, err := a.layout.ResolveAny(d, want)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		image := loaded{manifest: manifest, index: multi}
		if name, ok := nameOf(d); ok {
			image.names = []string{name}
		}
		images = append(images, image)
	}
	if len(images) == 0 {
		return nil, notArchive(errors.New("index.json names no image"))
	}
	return images, nil
}

// nameOf gives the name of an image in an archive's index.json: containerd's
// annotation, which docker and buildkit write, or the standard one.
func nameOf(d v1.Descriptor) (string, bool) {
	for _, key := range []string{annotationFullName, v1.AnnotationRefName} {
		if name, err := layout.ParseName(d.Annotations[key]); err == nil {
			return name, true
		}
	}
	return "", false
}

// dockerImages reads docker's manifest.json, and makes the manifests that such
// an archive doesn't have.
func (a *archive) dockerImages(data []byte) ([]loaded, error) {
	var list []dockerImage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, notArchive(fmt.Errorf("manifest.json: %w", err))
	}
	var images []loaded
	for _, d := range list {
		manifest, err := a.dockerManifest(d)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		image := loaded{manifest: manifest}
		for _, tag := range d.RepoTags {
			name, err := layout.ParseName(tag)
			if err != nil {
				return nil, err
			}
			image.names = append(image.names, name)
		}
		images = append(images, image)
	}
	return images, nil
}

func (a *archive) dockerManifest(d dockerImage) (v1.Descriptor, error) {
	config, err := a.find(d.Config)
	if err != nil {
		return v1.Descriptor{}, err
	}
	data, err := a.layout.ReadBlob(config.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	parsed, err := layout.ParseConfig(data)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if len(parsed.RootFS.DiffIDs) != len(d.Layers) {
		return v1.Descriptor{}, fmt.Errorf("%s tells of %d layers, manifest.json of %d", d.Config, len(parsed.RootFS.DiffIDs), len(d.Layers))
	}
	layers := make([]v1.Descriptor, len(d.Layers))
	for i, name := range d.Layers {
		if layers[i], err = a.layer(name, parsed.RootFS.DiffIDs[i]); err != nil {
			return v1.Descriptor{}, err
		}
	}
	return a.layout.PutManifest(a.ctx, config, layers)
}

// layer gives the descriptor of a layer, of which an uncompressed one must be
// what the config says. The others are checked when they are unpacked.
func (a *archive) layer(name string, diffID digest.Digest) (v1.Descriptor, error) {
	d, err := a.find(name)
	if err != nil {
		return d, err
	}
	compression, err := a.compression(d)
	if err != nil {
		return d, err
	}
	if compression == layer.None && d.Digest != diffID {
		return d, fmt.Errorf("layer %s doesn't have the digest %s that the config tells", name, diffID)
	}
	d.MediaType = compression.MediaType()
	return d, nil
}

func (a *archive) compression(d v1.Descriptor) (layer.Compression, error) {
	f, err := a.layout.OpenBlob(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	plain, kind, err := layer.Decompress(f)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	switch c := layer.Compression(kind); c {
	case layer.Gzip, layer.Zstd, layer.None:
		return c, nil
	}
	return "", fmt.Errorf("a layer compressed by %s", kind)
}

// find gives the blob that a file of the archive has become. Old archives link
// layers to one another.
func (a *archive) find(name string) (v1.Descriptor, error) {
	at := path.Clean(name)
	for range len(a.links) + 1 {
		if d, ok := a.files[at]; ok {
			return d, nil
		}
		next, ok := a.links[at]
		if !ok {
			break
		}
		at = next
	}
	return v1.Descriptor{}, fmt.Errorf("%s is missing", name)
}

// commit names the images, and gives them once for each name.
func (a *archive) commit(images []loaded) ([]layout.Image, error) {
	var done []layout.Image
	for _, image := range images {
		if err := a.layout.Commit(a.ctx, image.names, image.manifest, image.index); err != nil {
			return done, err
		}
		refs := slices.Clone(image.names)
		if len(refs) == 0 {
			refs = []string{image.manifest.Digest.String()}
		}
		for _, ref := range refs {
			found, err := a.layout.Find(layout.Familiar(ref))
			if err != nil {
				return done, err
			}
			done = append(done, found)
		}
	}
	return done, nil
}
