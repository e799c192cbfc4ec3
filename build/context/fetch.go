package context

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"

	"github.com/builder-oci/builder/build/fetch"
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
	// Access is what git reaches repositories with.
	Access fetch.Access
}

// Fetched is a context that was fetched.
type Fetched struct {
	// Dir holds the context's files.
	Dir string
	// Dockerfile is the text where the context is a Dockerfile alone, else nil.
	Dockerfile []byte
	// Time is that of a repository's commit, what a server says of a file, or
	// else the newest in an archive; zero where nothing tells one.
	Time time.Time
}

// Fetch brings the context that ref names. Files keep their mode, and their time
// where the source tells one; owners are the caller's. What can't be reached or
// is no context is a *fault.Error.
func (f Fetcher) Fetch(ctx context.Context, ref string) (*Fetched, error) {
	if isGit(ref) {
		return f.checkOut(ctx, ref)
	}
	dir, err := os.MkdirTemp(f.Dir, "context-*")
	if err != nil {
		return nil, err
	}
	if ref == Stdin {
		return f.sniff(ctx, f.Stdin, dir, "the standard input")
	}
	file, err := fetch.Get(ctx, ref)
	if err != nil {
		return nil, aboutContext(err)
	}
	defer file.Close()
	fetched, err := f.sniff(ctx, file, dir, Redacted(ref))
	if err == nil && !file.Time.IsZero() {
		fetched.Time = file.Time
	}
	return fetched, err
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
	file, err := fetch.Get(ctx, ref)
	if err != nil {
		return nil, aboutContext(err)
	}
	defer file.Close()
	if file.Name == "" {
		file.Name = "download" // as BuildKit has it
	}
	path := filepath.Join(dir, file.Name)
	if err := writeNew(path, file); err != nil {
		return nil, err
	}
	at := file.Time
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return &Fetched{Dir: dir, Time: file.Time}, os.Chtimes(path, at, at)
}

// aboutContext says what could not be had.
func aboutContext(err error) error { return fault.At("the build context", err) }

// sniff tells an archive from a Dockerfile by the content.
func (f Fetcher) sniff(ctx context.Context, r io.Reader, dir, what string) (*Fetched, error) {
	b := bufio.NewReaderSize(r, headSize)
	head, err := b.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.At(what, err)
	}
	if IsArchive(head) {
		newest, err := unpack(ctx, b, dir)
		return &Fetched{Dir: dir, Time: newest}, fault.At(what, err)
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

func writeNew(path string, r io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	return errors.Join(err, file.Close())
}

// Redacted is how messages call a context: logins in addresses are left out.
func Redacted(ref string) string { return fetch.Redacted(ref) }

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
