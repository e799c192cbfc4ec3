package transport

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

// Formats of archives.
const (
	DockerArchive = "docker-archive"
	OCIArchive    = "oci-archive"
)

const (
	// annotationFullName is containerd's, which docker reads and writes too.
	annotationFullName = "io.containerd.image.name"
	dockerManifestFile = "manifest.json"
	ociLayoutFile      = `{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`
	blobsDir           = v1.ImageBlobsDir + "/sha256/"
)

// dockerImage is one image in docker's manifest.json.
type dockerImage struct {
	Config       string
	RepoTags     []string
	Layers       []string
	LayerSources map[digest.Digest]v1.Descriptor `json:",omitempty"` // by diffID
}

// Save writes images to w as one tar archive that holds an OCI layout, with the
// blobs as they are. The docker-archive format has docker's manifest.json and
// repositories beside it, as docker writes since version 25: older ones and
// podman go by that. An image under several names is handed in as often, and its
// blobs are written once. Of a multi-platform image that has its index all
// platforms are written that are here.
//
// Blobs are checked against their digests as they are copied, so an error can
// come after much of the archive has been written.
func Save(ctx context.Context, images []layout.Image, w io.Writer, format string, o Options) error {
	if format != DockerArchive && format != OCIArchive {
		return fault.New("use docker-archive or oci-archive", "unknown archive format %q", format)
	}
	s := &saver{
		reporter: o.reporter(), ctx: ctx, layout: o.Layout, format: format, annotations: o.Annotations, tar: tar.NewWriter(w),
		written: map[digest.Digest]bool{}, places: map[digest.Digest]int{}, repositories: map[string]map[string]string{},
	}
	if err := s.save(images); err != nil {
		return err
	}
	return s.tar.Close()
}

type saver struct {
	*reporter
	ctx          context.Context
	layout       *layout.Layout
	format       string
	annotations  map[string]string
	tar          *tar.Writer
	written      map[digest.Digest]bool
	index        []v1.Descriptor
	docker       []dockerImage
	places       map[digest.Digest]int        // of a config in docker
	repositories map[string]map[string]string // name and tag to the topmost layer
}

func (s *saver) save(images []layout.Image) error {
	if err := s.file(v1.ImageLayoutFile, []byte(ociLayoutFile)); err != nil {
		return err
	}
	// Tools that unpack without privilege fail at directories that they have to
	// invent: they want to give them to root.
	for _, dir := range []string{v1.ImageBlobsDir + "/", blobsDir} {
		if err := s.header(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, img := range images {
		if err := s.image(img); err != nil {
			return fmt.Errorf("image %s: %w", nameOrID(img), err)
		}
	}
	err := s.json(v1.ImageIndexFile, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: s.index,
	})
	if err != nil || s.format == OCIArchive {
		return err
	}
	if err := s.json(dockerManifestFile, s.docker); err != nil || len(s.repositories) == 0 {
		return err
	}
	return s.json(repositoriesFile, s.repositories)
}

func nameOrID(img layout.Image) string {
	if img.Name == "" {
		return img.ID.String()
	}
	return layout.Familiar(img.Name)
}

// image writes the blobs of img that aren't in the archive yet, and notes what
// is to be told of it.
func (s *saver) image(img layout.Image) error {
	siblings, err := s.layout.Siblings(img)
	if err != nil {
		return err
	}
	if len(siblings) < 2 {
		img.Index, siblings = nil, []layout.Image{img}
	} else if err := s.quietly(*img.Index); err != nil {
		return err
	}
	for _, one := range siblings {
		if err := s.blobs(one); err != nil {
			return err
		}
	}
	config, err := s.layout.Config(img)
	if err != nil {
		return err
	}
	m, err := s.layout.Manifest(img)
	if err != nil {
		return err
	}
	s.index = append(s.index, s.archived(img, config))
	s.inDocker(img, m, config)
	return nil
}

// archived is an image's descriptor in the archive's index.json. In an OCI
// archive the standard annotation is the whole name, as podman reads it; in
// docker's it is the tag, and the name has an annotation of its own.
func (s *saver) archived(img layout.Image, config *layout.ImageConfig) v1.Descriptor {
	target := img.Target()
	d := v1.Descriptor{
		MediaType: target.MediaType, Digest: target.Digest, Size: target.Size,
		Annotations: maps.Clone(s.annotations),
	}
	if p := config.Platform(); img.Index == nil && p.OS != "" {
		d.Platform = &p
	}
	if img.Name == "" {
		return d
	}
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[annotationFullName], d.Annotations[v1.AnnotationRefName] = img.Name, img.Name
	if s.format == DockerArchive {
		d.Annotations[v1.AnnotationRefName] = tagOf(img.Name)
	}
	return d
}

func tagOf(name string) string {
	return strings.TrimLeft(strings.TrimPrefix(name, repository(name)), ":@")
}

// inDocker notes what docker's own files tell of an image.
func (s *saver) inDocker(img layout.Image, m *v1.Manifest, config *layout.ImageConfig) {
	at, seen := s.places[m.Config.Digest]
	if !seen {
		d := dockerImage{
			Config: blobsDir + m.Config.Digest.Encoded(), RepoTags: []string{}, Layers: []string{},
			LayerSources: map[digest.Digest]v1.Descriptor{},
		}
		for i, layer := range m.Layers {
			d.Layers = append(d.Layers, blobsDir+layer.Digest.Encoded())
			if i < len(config.RootFS.DiffIDs) {
				d.LayerSources[config.RootFS.DiffIDs[i]] = v1.Descriptor{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size}
			}
		}
		at, s.places[m.Config.Digest] = len(s.docker), len(s.docker)
		s.docker = append(s.docker, d)
	}
	if img.Name == "" || strings.Contains(img.Name, "@") {
		return
	}
	tags := &s.docker[at].RepoTags
	name := layout.Familiar(img.Name)
	if slices.Contains(*tags, name) {
		return
	}
	*tags = append(*tags, name)
	tag := tagOf(img.Name)
	if short := strings.TrimSuffix(name, ":"+tag); len(m.Layers) > 0 {
		if s.repositories[short] == nil {
			s.repositories[short] = map[string]string{}
		}
		s.repositories[short][tag] = m.Layers[len(m.Layers)-1].Digest.Encoded()
	}
}

// blobs writes manifest, config and layers of an image.
func (s *saver) blobs(img layout.Image) error {
	m, err := s.layout.Manifest(img)
	if err != nil {
		return err
	}
	if err := s.quietly(img.Manifest, m.Config); err != nil {
		return err
	}
	for _, d := range m.Layers {
		if err := s.blob(d); err != nil {
			return err
		}
	}
	return nil
}

// quietly writes small blobs, of whose way nothing is told.
func (s *saver) quietly(blobs ...v1.Descriptor) error {
	silent := *s
	silent.reporter = &reporter{}
	for _, d := range blobs {
		if err := silent.blob(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) blob(d v1.Descriptor) error {
	if s.written[d.Digest] {
		return nil
	}
	s.written[d.Digest] = true
	if err := s.ctx.Err(); err != nil {
		return err
	}
	f, err := s.layout.OpenBlob(d)
	if errors.Is(err, layout.ErrAbsent) {
		return damagedBlob(d)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s.tell(Event{Kind: Started, Digest: d.Digest, Size: d.Size})
	if err := s.header(regular(blobsDir+d.Digest.Encoded(), d.Size)); err != nil {
		return err
	}
	digester := digest.SHA256.Digester()
	from := &progressReader{reporter: s.reporter, from: io.LimitReader(f, d.Size), blob: d}
	if _, err := io.CopyBuffer(io.MultiWriter(s.tar, digester.Hash()), from, make([]byte, copyBuffer)); err != nil {
		return err
	}
	if digester.Digest() != d.Digest {
		return damagedBlob(d)
	}
	s.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
}

func damagedBlob(d v1.Descriptor) error {
	return fault.New("builder system check --repair", "%w: %s", layout.ErrAbsent, d.Digest)
}

func (s *saver) json(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.file(name, data)
}

func (s *saver) file(name string, data []byte) error {
	if err := s.header(regular(name, int64(len(data)))); err != nil {
		return err
	}
	_, err := s.tar.Write(data)
	return err
}

func regular(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}
}

// header begins an entry. Its time is fixed: the same images give the same
// bytes.
func (s *saver) header(h *tar.Header) error {
	h.ModTime = time.Unix(0, 0)
	return s.tar.WriteHeader(h)
}
