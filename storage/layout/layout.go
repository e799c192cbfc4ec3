// Package layout keeps images as a plain OCI image layout that any tool can
// read as it stands: oci-layout, index.json and blobs/sha256.
//
// A layout is opened with Open. List, Find, Manifest and Config read; blobs
// come in by PutBlob or a BlobWriter, whole images by WriteImage; and Commit,
// Tag and Remove change which images have names.
//
// # Names
//
// index.json is the one truth about names. A descriptor's annotation
// org.opencontainers.image.ref.name holds the image's name as docker shows it,
// with its tag (nginx:v2, localhost:5000/app:latest) or its digest
// (nginx@sha256:…), so that `skopeo inspect oci:images:nginx:v2` finds it. What
// others write there is read the same way: "v2" is docker.io/library/v2:latest.
// An image with several names has several descriptors; one whose last name was
// given to another image keeps a descriptor without name.
//
// Beside the name each descriptor carries what a listing shows, in annotations
// that begin with io.github.builder-oci: listing is one read of index.json.
//
// # Other writers
//
// index.json is changed under a lock of builder's own, written aside, synced
// and renamed. Other tools read it at any time and see a whole file. They write
// it without a lock and in place, so each change starts from what stands there
// now, and descriptors and annotations that builder doesn't know are kept.
//
// # Trust
//
// Manifests and configs are checked against their digest whenever they are
// read. One that doesn't match counts as absent: a tool that writes in place
// and is killed leaves a short file under a right name.
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
)

var (
	// ErrUnknown is behind every error about an image that index.json doesn't
	// name.
	ErrUnknown = errors.New("no such image")
	// ErrAbsent is behind every error about a blob that isn't there or fails
	// its digest.
	ErrAbsent = errors.New("blob is missing or damaged")
	// ErrInvalid is behind every error about a config that is whole, but not
	// an image's.
	ErrInvalid = errors.New("image config is not valid")
)

// A Layout is an image layout on disk. Its methods may be called from several
// goroutines and processes at once.
type Layout struct {
	dir       string
	lockFile  string
	freedFile string
	session   string
	lease     func(digest.Digest) error
	beyond    func(ref string) (Image, error)
	written   *sync.Map // digests of blobs that this process has written and not synced yet
	// last is index.json as this process wrote it last, until somebody takes it.
	// While the file is still that text, it needn't be parsed again: a removal looks
	// twice.
	last *atomic.Pointer[index]
	// noted is what HasFreed says.
	noted *atomic.Bool
}

// Open gives the layout in dir, whose index.json is changed under lockFile: "" for
// one of somebody else's, which is only read.
// Nothing is read or made yet.
func Open(dir, lockFile string) *Layout {
	return &Layout{
		dir: dir, lockFile: lockFile, session: "none", lease: func(digest.Digest) error { return nil },
		written: &sync.Map{}, last: &atomic.Pointer[index]{}, noted: &atomic.Bool{},
	}
}

// WithSession gives the same layout with id in the names of the temporary files
// that PutBlob and WriteImage make, so that those of a dead process are known.
func (l *Layout) WithSession(id string) *Layout {
	named := *l
	named.session = id
	return &named
}

// WithFreed gives the same layout with a file in which NoteFree notes blobs.
func (l *Layout) WithFreed(file string) *Layout {
	noting := *l
	noting.freedFile = file
	return &noting
}

// WithLease gives the same layout with a function that is told the digest of
// each blob that is about to be stored, before it is looked whether that is there
// already: so nobody removes it.
func (l *Layout) WithLease(lease func(digest.Digest) error) *Layout {
	leasing := *l
	leasing.lease = lease
	return &leasing
}

// Lease says that the caller counts on blobs from now on, before he looks whether
// they are there: they are told to the function of WithLease.
func (l *Layout) Lease(digests ...digest.Digest) error {
	for _, d := range digests {
		if err := l.lease(d); err != nil {
			return err
		}
	}
	return nil
}

// Dir is the directory of the layout.
func (l *Layout) Dir() string { return l.dir }

// Create makes what is missing of an empty layout.
func (l *Layout) Create() error {
	if err := os.MkdirAll(l.blobDir(), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		v1.ImageLayoutFile: `{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`,
		v1.ImageIndexFile:  emptyIndex,
	} {
		path := filepath.Join(l.dir, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			continue
		}
		if err := atomicfile.Write(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// An Image is one descriptor of index.json: an image under one of its names.
type Image struct {
	// Name is canonical, as docker.io/library/nginx:latest. It is empty where
	// the image has none, and ends in @sha256:… where it was pulled by digest.
	Name string
	// ID is the digest of the config.
	ID digest.Digest
	// Manifest is the image's manifest: that of one platform.
	Manifest v1.Descriptor
	// Index is the multi-platform index that Manifest was taken from, or nil.
	Index *v1.Descriptor
	// Created is when the image was made, or zero where its config is silent.
	Created time.Time
	// RepoDigests are the digests by which the name's repository knows the image,
	// where it was pulled from there or pushed to it.
	RepoDigests []digest.Digest
	// Size is what the layers take unpacked, in bytes, with the compressed size
	// of those whose unpacked size isn't known.
	Size int64

	layers string       // the sizes of layers whose blobs don't tell them
	config *ImageConfig // of an image that is in no blob
}

// Target is the descriptor that registries know the image by: the index's, or
// the manifest's where there is no index.
func (i Image) Target() v1.Descriptor {
	if i.Index != nil {
		return *i.Index
	}
	return i.Manifest
}

// List gives every image, in the order of index.json, from that one file.
// Descriptors of things that aren't images are left out.
func (l *Layout) List() ([]Image, error) {
	ix, err := l.read()
	if err != nil {
		return nil, err
	}
	l.adoptAll(ix)
	images := make([]Image, 0, len(ix.entries))
	for i := range ix.entries {
		if e := &ix.entries[i]; e.id != "" {
			images = append(images, e.image())
		}
	}
	return images, nil
}

// Find gives the image that ref means, as docker reads it: a name, name@digest,
// an id or the unambiguous beginning of one. A digest of a manifest or an index
// alone serves too. For an unknown image errors.Is(err, ErrUnknown), and the
// exit code is builder's own: it is 1 in docker for commands about images, but
// 125 for run.
func (l *Layout) Find(ref string) (Image, error) {
	ix, err := l.read()
	if err != nil {
		return Image{}, err
	}
	l.adoptAll(ix)
	found, _, err := ix.find(ref)
	if err != nil {
		return l.findBeyond(ref, err)
	}
	return found.image(), nil
}

func unknown(ref string) error {
	return fault.New("see what is there: builder images\nor fetch it:       builder pull "+ref,
		"%w: %s", ErrUnknown, ref)
}

// damaged says that what index.json names can't be used.
func damaged(img Image, err error) error {
	name := Familiar(img.Name)
	remedy := "builder system check --repair"
	if name == "" {
		name = img.ID.String()
	} else {
		remedy = "fetch it again: builder pull " + name
	}
	var unread *fs.PathError
	if errors.As(err, &unread) {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return &fault.Error{Err: fmt.Errorf("image %s: %w", name, err), Remedy: remedy}
}
