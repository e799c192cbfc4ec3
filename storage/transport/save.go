package transport

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	Config   string
	RepoTags []string
	Layers   []string
}

// Save writes images to w as one tar archive that holds an OCI layout, with the
// blobs as they are. The docker-archive format has docker's manifest.json
// beside it, as docker writes since version 25: older ones and podman go by
// that. An image under several names is handed in as often, and its blobs are
// written once.
//
// Blobs are checked against their digests as they are copied, so an error can
// come after much of the archive has been written.
func Save(ctx context.Context, images []layout.Image, w io.Writer, format string, o Options) error {
	if format != DockerArchive && format != OCIArchive {
		return fault.New("use docker-archive or oci-archive", "unknown archive format %q", format)
	}
	s := &saver{ctx: ctx, layout: o.Layout, annotations: o.Annotations, tar: tar.NewWriter(w), written: map[digest.Digest]bool{}, reporter: o.reporter()}
	if err := s.save(images, format); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return s.tar.Close()
}

type saver struct {
	*reporter
	ctx         context.Context
	layout      *layout.Layout
	annotations map[string]string
	tar         *tar.Writer
	written     map[digest.Digest]bool
}

func (s *saver) save(images []layout.Image, format string) error {
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	var docker []dockerImage
	known := map[digest.Digest]int{} // manifest to its place in docker
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
		index.Manifests = append(index.Manifests, s.archived(img, format))
		at, seen := known[img.Manifest.Digest]
		if !seen {
			m, err := s.image(img)
			if err != nil {
				return err
			}
			at, known[img.Manifest.Digest] = len(docker), len(docker)
			docker = append(docker, inDocker(m))
		}
		if img.Name != "" && !strings.Contains(img.Name, "@") {
			docker[at].RepoTags = append(docker[at].RepoTags, layout.Familiar(img.Name))
		}
	}
	if err := s.json(v1.ImageIndexFile, index); err != nil {
		return err
	}
	if format == OCIArchive {
		return nil
	}
	return s.json(dockerManifestFile, docker)
}

// archived is an image's descriptor in the archive's index.json. In an OCI
// archive the standard annotation is the whole name, as podman reads it; in
// docker's it is the tag, and the name has an annotation of its own.
func (s *saver) archived(img layout.Image, format string) v1.Descriptor {
	d := v1.Descriptor{
		MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size,
		Annotations: maps.Clone(s.annotations),
	}
	if img.Name == "" {
		return d
	}
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[annotationFullName], d.Annotations[v1.AnnotationRefName] = img.Name, img.Name
	if format == DockerArchive {
		d.Annotations[v1.AnnotationRefName] = strings.TrimLeft(strings.TrimPrefix(img.Name, repository(img.Name)), ":@")
	}
	return d
}

func inDocker(m *v1.Manifest) dockerImage {
	d := dockerImage{Config: blobsDir + m.Config.Digest.Encoded(), RepoTags: []string{}, Layers: []string{}}
	for _, layer := range m.Layers {
		d.Layers = append(d.Layers, blobsDir+layer.Digest.Encoded())
	}
	return d
}

// image writes the blobs of img that aren't in the archive yet.
func (s *saver) image(img layout.Image) (*v1.Manifest, error) {
	m, err := s.layout.Manifest(img)
	if err != nil {
		return nil, err
	}
	silent := *s
	silent.reporter = &reporter{}
	for _, d := range []v1.Descriptor{img.Manifest, m.Config} {
		if err := silent.blob(d); err != nil {
			return nil, err
		}
	}
	for _, d := range m.Layers {
		if err := s.blob(d); err != nil {
			return nil, err
		}
	}
	return m, nil
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
		return fault.New("builder system check --repair", "%w: %s", layout.ErrAbsent, d.Digest)
	}
	s.tell(Event{Kind: Done, Digest: d.Digest, Size: d.Size, Offset: d.Size})
	return nil
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
