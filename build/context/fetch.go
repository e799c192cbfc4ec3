package context

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"

	"github.com/builder-oci/builder/internal/fault"
)

// Stdin is the name of the standard input as a build context.
const Stdin = "-"

// singleFile is what BuildKit calls a Dockerfile that is a whole context.
const singleFile = "context"

// largestDockerfile bounds what is read as text. What is larger was hardly meant
// as a Dockerfile.
const largestDockerfile = 16 << 20

var httpURL = regexp.MustCompile(`^https?://`)

// IsRemote says whether a build context isn't a directory, but has to be
// fetched: the standard input, an http(s) URL or a git repository.
func IsRemote(ref string) bool { return ref == Stdin || isGit(ref) || httpURL.MatchString(ref) }

// isGit tells what docker takes for a git repository: git@host:path, ssh:// and
// git:// addresses, http(s) ones whose path ends in .git, and github.com/….
func isGit(ref string) bool {
	_, ok, _ := dfgitutil.ParseGitRef(ref)
	return ok
}

// Fetcher brings build contexts to this machine. What it brings may be a
// stranger's: neither names nor links in it lead out of the directory that it
// makes.
type Fetcher struct {
	// Dir is a private directory; each context gets one of its own beneath it,
	// which the caller removes with it.
	Dir string
	// Stdin is what "-" means. It may be nil where that isn't asked for.
	Stdin io.Reader
	// KeepGitDir keeps .git in what is fetched from a repository.
	KeepGitDir bool
	// Command prepares a git that goes by ssh, which wants to know the user,
	// where this process runs under another id. It may be nil.
	Command func(*exec.Cmd)
}

// Fetched is a context that was fetched.
type Fetched struct {
	// Dir holds the context's files.
	Dir string
	// Dockerfile is the text where the context is a Dockerfile alone, else nil.
	Dockerfile []byte
}

// Fetch brings the context that ref names. Files keep their mode, and their time
// where the source tells one; owners are the caller's. What can't be reached or
// is no context is a *fault.Error.
func (f Fetcher) Fetch(ctx context.Context, ref string) (*Fetched, error) {
	dir, err := os.MkdirTemp(f.Dir, "context-*")
	if err != nil {
		return nil, err
	}
	switch {
	case ref == Stdin:
		return f.sniff(ctx, f.Stdin, dir, "the standard input")
	case isGit(ref):
		dir, err = f.clone(ctx, ref, dir)
		return &Fetched{Dir: dir}, err
	}
	body, _, err := get(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return f.sniff(ctx, body, dir, redacted(ref))
}

// FetchFile is Fetch for a named context: what an http(s) URL gives is its one
// file, under the name that the server or the address gives it, whatever it is.
func (f Fetcher) FetchFile(ctx context.Context, ref string) (*Fetched, error) {
	if ref == Stdin || isGit(ref) {
		return f.Fetch(ctx, ref)
	}
	dir, err := os.MkdirTemp(f.Dir, "context-*")
	if err != nil {
		return nil, err
	}
	body, name, err := get(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return &Fetched{Dir: dir}, writeNew(filepath.Join(dir, name), body)
}

// sniff tells an archive from a Dockerfile by the content.
func (f Fetcher) sniff(ctx context.Context, r io.Reader, dir, what string) (*Fetched, error) {
	b := bufio.NewReaderSize(r, headSize)
	head, err := b.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	if IsArchive(head) {
		return &Fetched{Dir: dir}, fault.At(what, unpack(ctx, b, dir))
	}
	text, err := ReadDockerfile(b)
	if err != nil {
		return nil, fault.At(what, err)
	}
	return &Fetched{Dir: dir, Dockerfile: text}, os.WriteFile(filepath.Join(dir, singleFile), text, 0o600)
}

// ReadDockerfile reads a text that is a whole context.
func ReadDockerfile(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, largestDockerfile+1))
	if err == nil && len(text) > largestDockerfile {
		err = fault.New("give a Dockerfile, or a tar archive of a build context",
			"it is no archive, and with more than %d MiB no Dockerfile", largestDockerfile>>20)
	}
	if text == nil {
		text = []byte{}
	}
	return text, err
}

// get asks for an address. The name is what the file should be called.
func get(ctx context.Context, ref string) (body io.ReadCloser, name string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, ref, nil)
	if err != nil {
		return nil, "", fault.New("", "the build context's address: %w", err)
	}
	request.Header.Set("User-Agent", "builder")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // what is around it repeats the address, with its password
		}
		return nil, "", fault.New("look whether the address is right and the network lets it through",
			"the build context %s can't be reached: %w", redacted(ref), err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		_ = response.Body.Close()
		return nil, "", fault.New("look whether the address is right: a git repository's ends in .git",
			"the build context %s can't be had: the server says %s", redacted(ref), response.Status)
	}
	return response.Body, fileName(response), nil
}

// fileName is the last component of an address after all redirections.
func fileName(r *http.Response) string {
	name := path.Base(path.Clean("/" + r.Request.URL.Path))
	if name == "/" || name == "." {
		return "download" // as BuildKit has it
	}
	return name
}

func writeNew(path string, r io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	return errors.Join(err, file.Close())
}

// redacted is an address without its password.
func redacted(ref string) string {
	u, err := url.Parse(ref)
	if err != nil || u.User == nil {
		return ref
	}
	return u.Redacted()
}

// Redacted is how messages call a context: passwords in addresses are left out.
func Redacted(ref string) string { return redacted(ref) }

// FindFetched reads the Dockerfile of a context that was fetched: flag, the
// value of --file, is a path inside it, and "" stands for the default names.
func FindFetched(dir, flag string) (path string, src []byte, name string, err error) {
	names := dockerfileNames
	if flag != "" {
		names = []string{flag}
	}
	for _, name := range names {
		path := filepath.Join(dir, filepath.Clean("/"+name))
		src, err := readDockerfile(dir, path)
		if err == nil {
			return path, src, name, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", nil, "", unreadableDockerfile(path, name, err)
		}
	}
	return "", nil, "", fault.New("name a file in it by --file", "there is no %s in the build context that was fetched",
		strings.Join(names, " or "))
}
