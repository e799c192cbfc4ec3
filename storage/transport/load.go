package transport

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/room"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// What is taken of an archive at most. An image of 10,000 layers in docker's
// first form has 40,000 entries.
const (
	mostEntries = 100_000
	mostNames   = 16 << 20 // bytes of all entries' names
	largestMeta = 4 << 20  // of index.json, manifest.json and repositories, each
	mostPadding = 64 << 20 // behind the end of the tar
	mostImages  = 1000
	mostTags    = 10_000 // of all images
)

// A Loaded image is one that Load has brought, under one of its names.
type Loaded struct {
	layout.Image
	// Before is the id of another image that had the name until then.
	Before digest.Digest
}

// Load takes up the images of an archive that docker (since its beginnings),
// podman, skopeo, buildah, buildkit or builder saved: docker-archive or
// oci-archive, compressed or not. It gives them under the names that the archive
// tells, as often as they have names; one without a name is kept without.
//
// The archive is read once, front to back, straight into the layout: r may be a
// pipe, and nothing is unpacked aside. Every blob is checked. Images are named
// when all of them turn out to be whole.
func Load(ctx context.Context, r io.Reader, o Options) ([]Loaded, error) {
	return load(ctx, r, o, func(_ string, images []loaded) ([]loaded, error) { return images, nil })
}

// load takes up those images of an archive that choose gives, which is told of
// the archive's format and of all that it holds.
func load(ctx context.Context, r io.Reader, o Options, choose func(format string, all []loaded) ([]loaded, error)) (_ []Loaded, err error) {
	plain, _, err := layer.Decompress(r)
	if err != nil {
		return nil, notArchive(err)
	}
	defer plain.Close()
	a := &archive{
		ctx: ctx, options: o, layout: o.layout(),
		files: map[string]v1.Descriptor{}, links: map[string]link{}, meta: map[string][]byte{},
	}
	defer func() { err = errors.Join(err, a.noteUnneeded()) }()
	if err := a.read(layout.ReaderWithContext(ctx, plain)); err != nil {
		return nil, err
	}
	images, err := a.images()
	if err != nil {
		return nil, err
	}
	if images, err = choose(a.format(), images); err != nil {
		return nil, err
	}
	if err := a.allowed(images); err != nil {
		return nil, err
	}
	return a.commit(images)
}

// format is what the archive is to policies: docker's where it has docker's
// manifest.json, whatever else it holds.
func (a *archive) format() string {
	if _, isDocker := a.meta[dockerManifestFile]; isDocker {
		return DockerArchive
	}
	return OCIArchive
}

// allowed asks policy.json for each image. One in an archive has no signature,
// and policies don't know its path: it may have come through a pipe.
func (a *archive) allowed(images []loaded) error {
	for _, image := range images {
		name := image.manifest.Digest.String()
		if len(image.names) > 0 {
			name = layout.Familiar(image.names[0])
		}
		manifest, err := a.layout.ReadBlob(image.manifest.Digest)
		if err == nil {
			err = a.options.allowedUnsigned(a.ctx, place{transport: a.format()}, manifest, image.manifest.MediaType, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notArchive(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return fault.New("builder load reads what docker save, podman save or builder save have written;\n"+
		"for the tarball of a root file system: builder import", "not an archive of images: %w", err)
}

const transferAgain = "transfer it again"

func cutShort(last string, err error) error {
	return fault.New(transferAgain, "the archive ends in the middle, after entry %q: %w", last, err)
}

// noteUnneeded notes the blobs that no image turned out to need. They stay for
// now: another command may have found them there, and be about to name them.
func (a *archive) noteUnneeded() error {
	free, err := a.layout.Unreferenced(a.added)
	if err != nil || len(free) == 0 {
		return err
	}
	return a.layout.NoteFree(layout.Free{Blobs: free})
}

// archive is what has been read of an archive.
type archive struct {
	ctx     context.Context
	options Options
	layout  *layout.Layout
	files   map[string]v1.Descriptor // path to the blob that the file has become
	links   map[string]link
	meta    map[string][]byte // small files that aren't blobs
	added   []digest.Digest
	names   int    // bytes of all names
	last    string // entry that was read
}

// link is a link in an archive: written is what it says, to the path that this
// means, "" where it leads out.
type link struct{ written, to string }

// read takes in all files of the archive.
func (a *archive) read(r io.Reader) error {
	t := tar.NewReader(r)
	for entries := 0; ; entries++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && entries > 0:
			return a.readPadding(r)
		case err != nil && entries == 0:
			return notArchive(err)
		case err != nil:
			return a.damaged(err)
		case entries == mostEntries:
			return fmt.Errorf("the archive has more than %d entries", mostEntries)
		}
		a.last = h.Name
		if err := a.entry(h, t); err != nil {
			return err
		}
	}
}

// readPadding reads what follows the end of the tar: who writes a pipe doesn't
// want it closed before. Compressed archives end with a checksum.
func (a *archive) readPadding(r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, mostPadding)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return a.damaged(err)
}

// damaged says where an archive can't be read.
func (a *archive) damaged(err error) error {
	if err == nil || a.ctx.Err() != nil {
		return errors.Join(err, a.ctx.Err())
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return cutShort(a.last, err)
	}
	return fault.New(transferAgain, "the archive is damaged after entry %q: %w", a.last, err)
}

func (a *archive) entry(h *tar.Header, r io.Reader) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.names += len(h.Name) + len(h.Linkname); a.names > mostNames {
		return fmt.Errorf("the names of the archive's entries take more than %d bytes", mostNames)
	}
	name := path.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = linked(h.Linkname, path.Join(path.Dir(name), h.Linkname))
	case tar.TypeLink:
		a.links[name] = linked(h.Linkname, h.Linkname)
	case tar.TypeReg, tar.TypeGNUSparse:
		if err := checkFile(h); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if err := a.file(name, h.Size, r); err != nil {
			return a.entryError(h.Name, err)
		}
	}
	return nil
}

// entryError says at which entry something is wrong.
func (a *archive) entryError(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(transferAgain, "the archive ends in the middle of entry %q: %w", name, err)
	}
	return fmt.Errorf("entry %q: %w", name, err)
}

func linked(written, to string) link {
	if path.IsAbs(written) || climbs(to) {
		return link{written: written}
	}
	return link{written, path.Clean(to)}
}

// checkFile refuses what no archive of images holds.
func checkFile(h *tar.Header) error {
	switch _, isSparse := h.PAXRecords["GNU.sparse.major"]; {
	case climbs(h.Name):
		return errors.New("the name leads out of the archive")
	case path.IsAbs(h.Name):
		return errors.New("the name is an absolute path")
	case isSparse || h.Typeflag == tar.TypeGNUSparse:
		// A few bytes would stand for a file of any size.
		return fault.New("make the archive without tar's option --sparse", "it is a sparse file")
	}
	return nil
}

// file makes a file a blob, whatever it is: what manifest.json says of it may
// come last.
func (a *archive) file(name string, size int64, r io.Reader) error {
	switch name {
	case v1.ImageIndexFile, v1.ImageLayoutFile, dockerManifestFile, repositoriesFile:
		return a.keepMeta(name, size, r)
	}
	want := digest.Digest("")
	if hex, ok := strings.CutPrefix(name, blobsDir); ok {
		want = digest.NewDigestFromEncoded(digest.SHA256, hex)
	}
	d, err := a.store(want, size, r)
	if err != nil {
		return err
	}
	if old, twice := a.files[name]; twice && old.Digest != d.Digest {
		return errTwice
	}
	a.files[name] = d
	return nil
}

var errTwice = errors.New("it is in the archive twice, with different contents")

func (a *archive) keepMeta(name string, size int64, r io.Reader) error {
	if size > largestMeta {
		return fmt.Errorf("it has %d bytes: at most %d are read", size, largestMeta)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if old, twice := a.meta[name]; twice && !slices.Equal(old, data) {
		return errTwice
	}
	a.meta[name] = data
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
	if err := a.hasRoom(size); err != nil {
		return v1.Descriptor{}, err
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
	a.options.reporter().tell(Event{Kind: Done, Digest: want, Size: size, Offset: size})
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

// hasRoom is an error where an entry is said to be larger than what is free on
// the disk: nobody waits until that is full.
func (a *archive) hasRoom(size int64) error {
	free, err := room.Free(a.layout.BlobsDir())
	if err != nil {
		return err
	}
	if size > free {
		return fmt.Errorf("it has %d bytes, and %d are free: %w", size, free, unix.ENOSPC)
	}
	return nil
}
