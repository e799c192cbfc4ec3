package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is one of an image that is pushed. What its descriptor leaves empty is
// the truth.
type Layer struct {
	Blob   []byte
	DiffID digest.Digest
	v1.Descriptor
}

// Files gives a layer with one file for each of contents, /file0 and so on.
func Files(contents ...string) Layer {
	plain := tarOf(contents)
	return Layer{Blob: zip(bytes.NewReader(plain)), DiffID: digest.FromBytes(plain)}
}

// Zstd is Files, packed by zstd.
func Zstd(contents ...string) Layer {
	plain := tarOf(contents)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	l := Layer{Blob: z.EncodeAll(plain, nil), DiffID: digest.FromBytes(plain)}
	l.MediaType = v1.MediaTypeImageLayerZstd
	return l
}

func tarOf(contents []string) []byte {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for i, c := range contents {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", i), Mode: 0o644, Size: int64(len(c))}); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, c); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return plain.Bytes()
}

// Bomb gives a layer with a file of so many zeros, of which only the first MiB
// are there: who believes it writes for ever.
func Bomb(size int64) Layer {
	var plain bytes.Buffer
	if err := tar.NewWriter(&plain).WriteHeader(&tar.Header{Name: "bomb", Mode: 0o644, Size: size}); err != nil {
		panic(err)
	}
	plain.Write(make([]byte, 1<<20))
	return Layer{Blob: zip(bytes.NewReader(plain.Bytes())), DiffID: digest.FromBytes(plain.Bytes())}
}

func zip(r io.Reader) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, r); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Put keeps a blob and gives its descriptor.
func (r *Registry) Put(mediaType string, blob []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	r.PutAs(d.Digest, blob)
	return d
}

// PutAs keeps a blob under a digest that needn't be its own.
func (r *Registry) PutAs(d digest.Digest, blob []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[d.String()] = blob
}

// PutManifest keeps a manifest, or what is called one, under NAME:TAG, and gives
// its digest, under which it is kept too.
func (r *Registry) PutManifest(name, mediaType string, content []byte) digest.Digest {
	repository, tag, _ := strings.Cut(name, ":")
	d := digest.FromBytes(content)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range []string{tag, d.String()} {
		r.manifests[repository+"/manifests/"+ref] = manifest{mediaType, content}
	}
	return d
}

// Push keeps an image of layers for this machine under NAME:TAG.
func (r *Registry) Push(name string, layers ...Layer) digest.Digest {
	var descriptors []v1.Descriptor
	config := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		descriptors = append(descriptors, r.putLayer(l))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
	}
	return r.PutImage(name, r.Put(v1.MediaTypeImageConfig, marshal(config)), descriptors...)
}

// PutImage keeps a manifest with a config and layers under NAME:TAG.
func (r *Registry) PutImage(name string, config v1.Descriptor, layers ...v1.Descriptor) digest.Digest {
	return r.PutManifest(name, v1.MediaTypeImageManifest, marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config, Layers: layers,
	}))
}

// Alias keeps the manifest that a tag means under a digest that isn't its own.
func (r *Registry) Alias(repository string, d digest.Digest, tag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests[repository+"/manifests/"+d.String()] = r.manifests[repository+"/manifests/"+tag]
}

func (r *Registry) putLayer(l Layer) v1.Descriptor {
	d := l.Descriptor
	if d.Digest == "" {
		d.Digest = digest.FromBytes(l.Blob)
	}
	if d.Size == 0 {
		d.Size = int64(len(l.Blob))
	}
	if d.MediaType == "" {
		d.MediaType = v1.MediaTypeImageLayerGzip
	}
	r.PutAs(d.Digest, l.Blob)
	return d
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
