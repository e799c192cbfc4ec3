package build

import (
	"context"
	"errors"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	digest "github.com/opencontainers/go-digest"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/fetch"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
)

// remotes are what a build's ADDs take from elsewhere. Each address is asked
// about once and fetched once, however many instructions name it.
type remotes struct {
	memory fetch.Memory
	dir    fetch.Dir // nil outside a user namespace, where nothing is executed

	mu    sync.Mutex
	files map[fileID]*fetch.File
	open  []*buildcontext.Dir
}

type fileID struct{ address, checksum string }

func newRemotes(env Env) *remotes {
	r := &remotes{memory: env.Store.Cache(), files: map[fileID]*fetch.File{}}
	if env.Snapshots != nil {
		r.dir = func() (string, error) {
			session, err := env.Store.Session()
			if err != nil {
				return "", err
			}
			return session.TempDir()
		}
	}
	return r
}

// of gives the sources of an ADD that are elsewhere, by their text.
func (r *remotes) of(c *instructions.AddCommand) (map[string]stage.Remote, error) {
	found := map[string]stage.Remote{}
	for _, source := range c.SourcePaths {
		if fetch.IsHTTP(source) {
			found[source] = httpFile{r, r.file(source, c.Checksum)}
		}
	}
	if c.Checksum == "" {
		return found, nil
	}
	switch {
	case len(c.SourcePaths) != 1:
		return nil, fault.New("give each source an ADD of its own", "--checksum is for one source, not %d", len(c.SourcePaths))
	case len(found) == 0:
		return nil, fault.New("leave it out: what lies in the context isn't checked", "--checksum is for an address, not %s", c.SourcePaths[0])
	}
	if d := digest.Digest(c.Checksum); d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return nil, fault.New("write it as sha256: and 64 digits in lower case", "--checksum=%s is no checksum", c.Checksum)
	}
	return found, nil
}

func (r *remotes) file(address, checksum string) *fetch.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := fileID{address, checksum}
	if r.files[id] == nil {
		r.files[id] = fetch.NewFile(address, digest.Digest(checksum), r.memory, r.dir)
	}
	return r.files[id]
}

// openDir opens a directory that was fetched; it is closed with the build.
func (r *remotes) openDir(dir string) (stage.Files, error) {
	d, err := buildcontext.OpenDir(dir, buildcontext.Options{Whole: true})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, d)
	return filesOf(d, nil), nil
}

func (r *remotes) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.open {
		_ = d.Close() // it was only read from
	}
}

// httpFile is a URL as a source of ADD.
type httpFile struct {
	r *remotes
	f *fetch.File
}

// Identity is the name and the digest. The name is only seen in a directory,
// but whether the destination is one isn't known yet.
func (h httpFile) Identity(ctx context.Context) (string, error) {
	d, err := h.f.Resolve(ctx)
	if errors.Is(err, fetch.ErrNotHere) {
		return "", stage.ErrNamespace
	}
	return "http " + h.f.Name() + " " + d.String(), err
}

func (h httpFile) Fetch(ctx context.Context) (stage.Files, stage.Match, error) {
	dir, err := h.f.Fetch(ctx)
	if err != nil {
		return nil, stage.Match{}, err
	}
	files, err := h.r.openDir(dir)
	return files, stage.Match{Name: h.f.Name(), Path: h.f.Name()}, err
}
