package build

import (
	"archive/tar"
	"context"
	"errors"
	"strconv"
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
	access fetch.Access
	dir    fetch.Dir // nil outside a user namespace, where nothing is executed

	mu    sync.Mutex
	files map[remoteID]*fetch.File
	repos map[remoteID]*fetch.Repo
	open  []*buildcontext.Dir
}

// remoteID is an address with the flags that decide what is fetched from it.
type remoteID struct{ address, checksum, keepGitDir string }

func newRemotes(o Options, env Env) *remotes {
	r := &remotes{memory: env.Store.Cache(), access: access(o, env.AsCaller, false), files: map[remoteID]*fetch.File{}, repos: map[remoteID]*fetch.Repo{}}
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
	if err := checkRemote(c); err != nil {
		return nil, err
	}
	found := map[string]stage.Remote{}
	for _, source := range c.SourcePaths {
		switch {
		case fetch.IsGit(source):
			repo, err := r.repo(source, c)
			if err != nil {
				return nil, err
			}
			found[source] = gitRepo{r, repo}
		case fetch.IsHTTP(source):
			found[source] = httpFile{r, r.file(source, c.Checksum)}
		}
	}
	return found, nil
}

// checkRemote refuses a --checksum that can't be that of what is added.
func checkRemote(c *instructions.AddCommand) error {
	if c.Checksum == "" {
		return nil
	}
	switch {
	case len(c.SourcePaths) != 1:
		return fault.New("give each source an ADD of its own", "--checksum is for one source, not %d", len(c.SourcePaths))
	case !fetch.IsAddress(c.SourcePaths[0]):
		return fault.New("leave it out: what lies in the context isn't checked", "--checksum is for an address, not %s", c.SourcePaths[0])
	case fetch.IsGit(c.SourcePaths[0]):
		return nil
	}
	if d := digest.Digest(c.Checksum); d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return fault.New("write it as sha256: and 64 digits in lower case", "--checksum=%s is no checksum", c.Checksum)
	}
	return nil
}

func (r *remotes) file(address, checksum string) *fetch.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := remoteID{address: address, checksum: checksum}
	if r.files[id] == nil {
		r.files[id] = fetch.NewFile(address, digest.Digest(checksum), r.memory, r.dir)
	}
	return r.files[id]
}

func (r *remotes) repo(address string, c *instructions.AddCommand) (*fetch.Repo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := remoteID{address: address, checksum: c.Checksum}
	if c.KeepGitDir != nil {
		id.keepGitDir = strconv.FormatBool(*c.KeepGitDir)
	}
	if r.repos[id] == nil {
		repo, err := fetch.NewRepo(address, fetch.RepoOptions{KeepGitDir: c.KeepGitDir, Checksum: c.Checksum, Access: r.access, Dir: r.dir})
		if err != nil {
			return nil, err
		}
		r.repos[id] = repo
	}
	return r.repos[id], nil
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

// gitRepo is a git repository as a source of ADD.
type gitRepo struct {
	r    *remotes
	repo *fetch.Repo
}

func (g gitRepo) Identity(ctx context.Context) (string, error) {
	identity, err := g.repo.Identity(ctx)
	if errors.Is(err, fetch.ErrNotHere) {
		return "", stage.ErrNamespace
	}
	return identity, err
}

func (g gitRepo) Fetch(ctx context.Context) (stage.Files, stage.Match, error) {
	tree, err := g.repo.Fetch(ctx)
	if err != nil {
		return nil, stage.Match{}, err
	}
	files, err := g.r.openDir(tree.Dir)
	if err != nil {
		return nil, stage.Match{}, err
	}
	sub := g.repo.Subdir()
	if top, err := files.Lstat(sub); err != nil || top.Type != tar.TypeDir {
		return nil, stage.Match{}, fault.New("", "the repository has no directory %s at that commit", sub)
	}
	return files, stage.Match{Path: sub}, nil
}
