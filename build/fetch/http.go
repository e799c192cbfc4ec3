package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
)

// Memory keeps what servers have answered from one build to the next.
type Memory interface {
	Answer(address string) (cache.Answer, bool)
	PutAnswer(address string, a cache.Answer) error
}

// File is a file on an HTTP server. Its methods may be called from several
// goroutines at once; within one build it is asked for once and fetched once.
type File struct {
	url      string
	checksum digest.Digest
	memory   Memory
	dir      Dir

	mu     sync.Mutex
	answer *cache.Answer
	path   string // of the content, once it is here
}

// NewFile gives the file at a URL. checksum, where it isn't "", is what the
// content must have; a file with one is not asked about when it is known. dir is
// nil where nothing may be fetched.
func NewFile(address string, checksum digest.Digest, m Memory, dir Dir) *File {
	return &File{url: address, checksum: checksum, memory: m, dir: dir}
}

// Name is the last part of the URL's path, which the file has in a destination
// directory; BuildKit's name for one without.
func (f *File) Name() string {
	if u, err := url.Parse(f.url); err == nil {
		if name := nameOf(u); name != "" {
			return name
		}
	}
	return "__unnamed__"
}

// Resolve gives the digest of the file's content as it is now.
func (f *File) Resolve(ctx context.Context) (digest.Digest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answer != nil {
		return f.answer.Digest, nil
	}
	if f.checksum != "" {
		if err := f.checksum.Validate(); err != nil {
			return "", fault.New("write it as sha256: and 64 digits", "--checksum=%s: %w", f.checksum, err)
		}
		// What it says is in the key; whether it is true is seen by who fetches.
		return f.checksum, nil
	}
	known, ok := f.memory.Answer(f.url)
	if !ok && f.dir == nil {
		return "", ErrNotHere
	}
	if err := f.ask(ctx, known); err != nil {
		return "", err
	}
	return f.answer.Digest, nil
}

// Fetch brings the file, whose digest Resolve has told: into a directory of its
// own, under its Name, with BuildKit's mode 0600 and the time that the server
// tells, or that of 1970.
func (f *File) Fetch(ctx context.Context) (dir string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		want := f.checksum
		if f.answer != nil {
			want = f.answer.Digest
		}
		if err := f.ask(ctx, cache.Answer{}); err != nil {
			return "", err
		}
		if want != "" && f.answer.Digest != want {
			return "", f.mismatch(want)
		}
	}
	return filepath.Dir(f.path), nil
}

func (f *File) mismatch(want digest.Digest) error {
	if f.checksum == "" {
		return fault.New("build again", "%s changed while the image was built", Redacted(f.url))
	}
	return fault.New("look whether the file is the one that is meant; if so, write --checksum="+f.answer.Digest.String(),
		"%s has another checksum than it should: %s, not %s", Redacted(f.url), f.answer.Digest, want)
}

// ask requests the file: whole, or only if it has changed since a known answer.
func (f *File) ask(ctx context.Context, known cache.Answer) error {
	conditions := http.Header{}
	if known.ETag != "" {
		conditions.Set("If-None-Match", known.ETag)
	}
	if known.LastModified != "" {
		conditions.Set("If-Modified-Since", known.LastModified)
	}
	response, err := get(ctx, f.url, conditions)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	etag := response.Header.Get("ETag")
	switch {
	case known.Digest != "" && response.StatusCode == http.StatusNotModified,
		// Some servers give an ETag but don't heed the one that they are given.
		known.Digest != "" && response.StatusCode == http.StatusOK && isStrong(etag) && etag == known.ETag:
		f.answer = &known
		return nil
	case !isSuccess(response):
		return refused(f.url, response)
	case f.dir == nil:
		return ErrNotHere
	}
	return f.save(response)
}

// isStrong says whether an ETag promises the same bytes.
func isStrong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// save puts a response's body into a directory and remembers the answer.
func (f *File) save(response *http.Response) error {
	above, err := f.dir()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(above, "add-")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, f.Name())
	body := newBody(f.url, response.Body, patience)
	defer body.Close()
	sum, err := write(name, body)
	var broken *fault.Error
	if errors.As(err, &broken) {
		return broken
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", Redacted(f.url), err)
	}
	f.path = name
	f.answer = &cache.Answer{
		ETag: response.Header.Get("ETag"), LastModified: response.Header.Get("Last-Modified"), Digest: sum,
	}
	mtime := lastModified(response)
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	if err := os.Chtimes(name, mtime, mtime); err != nil {
		return err
	}
	if f.answer.ETag == "" && f.answer.LastModified == "" {
		return nil // it can't be asked about
	}
	return f.memory.PutAnswer(f.url, *f.answer)
}

func write(name string, body io.Reader) (digest.Digest, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, h), body)
	return digest.NewDigest(digest.SHA256, h), errors.Join(err, file.Close())
}
