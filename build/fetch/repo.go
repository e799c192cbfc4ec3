package fetch

import (
	"context"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"

	"github.com/builder-oci/builder/internal/fault"
)

// Repo is one commit of a git repository, brought by the git program. Its
// methods may be called from several goroutines at once; within one build it is
// asked about once and fetched once.
type Repo struct {
	git      git
	ref      *dfgitutil.GitRef
	keep     bool
	checksum string
	dir      Dir

	mu     sync.Mutex
	commit string
	name   string // full name of the reference, or "" for a commit's own digits
	work   string // a repository that has the commit, where it was needed to find it
	path   string // of the work tree, once it is here
	time   time.Time
}

// commitID is a whole commit's name, in either of git's formats; shortID is what
// can be its beginning.
var (
	commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	shortID  = regexp.MustCompile(`^[0-9a-f]{7,63}$`)
)

// RepoOptions are what flags say beside an address.
type RepoOptions struct {
	// KeepGitDir says whether .git stays; nil leaves it to the address.
	KeepGitDir *bool
	// AlwaysGitDir keeps .git whatever the address says.
	AlwaysGitDir bool
	// Checksum is how the commit's name begins, or "".
	Checksum string
	Access   Access
	// Dir is nil where nothing may be fetched.
	Dir Dir
}

// NewRepo reads an address with BuildKit's #ref:subdir or query.
func NewRepo(address string, o RepoOptions) (*Repo, error) {
	ref, _, err := dfgitutil.ParseGitRef(address)
	if err != nil {
		return nil, fault.New("write it as https://HOST/REPOSITORY.git#REF:DIRECTORY", "%s: %w", Redacted(address), err)
	}
	keep, checksum := o.KeepGitDir, o.Checksum
	if keep != nil && ref.KeepGitDir != nil && *keep != *ref.KeepGitDir {
		return nil, fault.New("leave one of them out", "--keep-git-dir=%t contradicts the address", *keep)
	}
	if checksum != "" && ref.Checksum != "" && checksum != ref.Checksum {
		return nil, fault.New("leave one of them out", "--checksum=%s contradicts the address", checksum)
	}
	if keep == nil {
		keep = ref.KeepGitDir
	}
	if checksum == "" {
		checksum = ref.Checksum
	}
	if strings.Trim(checksum, "0123456789abcdef") != "" || len(checksum) > 64 {
		return nil, fault.New("write the commit's digits", "the checksum %s is no commit", checksum)
	}
	remote := ref.Remote
	if ref.IndistinguishableFromLocal { // github.com/…
		remote = "https://" + remote
	}
	g, err := newGit(remote, o.Access)
	if err != nil {
		return nil, err
	}
	return &Repo{git: g, ref: ref, keep: o.AlwaysGitDir || keep != nil && *keep, checksum: checksum, dir: o.Dir}, nil
}

// Subdir is the directory in the repository that is meant, "" for all of it.
func (r *Repo) Subdir() string { return strings.Trim(path.Clean("/"+r.ref.SubDir), "/") }

// Identity says which files these are: the commit, and what else decides them.
// It is ErrNotHere where that is known only once something is fetched.
func (r *Repo) Identity(ctx context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.resolve(ctx); err != nil {
		return "", err
	}
	words := []string{"git", r.commit, "/" + r.Subdir()}
	if !r.submodules() {
		words = append(words, "without submodules")
	}
	if r.keep {
		words = append(words, "with .git of", r.git.remote, r.name)
	}
	return strings.Join(words, " "), nil
}

func (r *Repo) submodules() bool { return r.ref.Submodules == nil || *r.ref.Submodules }

// resolve finds the commit that the reference leads to. A commit's own name
// needs no question.
func (r *Repo) resolve(ctx context.Context) error {
	if r.commit != "" {
		return nil
	}
	if commitID.MatchString(r.ref.Ref) {
		if !strings.HasPrefix(r.ref.Ref, r.checksum) {
			return r.mismatch(r.ref.Ref)
		}
		r.commit = r.ref.Ref
		return nil
	}
	want := r.ref.Ref
	if want == "" {
		want = "HEAD"
	}
	out, err := r.git.run(ctx, "", "ls-remote", "--", r.git.remote, want, want+"^{}")
	if err != nil {
		return err
	}
	name, object, commit := pick(out, want)
	switch {
	case commit == "" && shortID.MatchString(want):
		return r.lengthen(ctx, want)
	case commit == "":
		return r.missing(want)
	case !strings.HasPrefix(commit, r.checksum) && !strings.HasPrefix(object, r.checksum):
		return r.mismatch(commit)
	}
	r.name, r.commit = name, commit
	return nil
}

func (r *Repo) missing(what string) error {
	return fault.New("name a branch, tag or commit that it has: git ls-remote "+Redacted(r.git.remote),
		"%s has no %s", Redacted(r.git.remote), what)
}

// lengthen finds the commit whose name begins so. Only a whole repository tells.
func (r *Repo) lengthen(ctx context.Context, short string) error {
	if r.dir == nil {
		return ErrNotHere
	}
	tree, err := r.begin(ctx, "sha1")
	if err != nil {
		return err
	}
	if _, err := r.git.run(ctx, tree, append([]string{"fetch", "--quiet", "--", "origin"}, everything...)...); err != nil {
		return err
	}
	out, err := r.git.run(ctx, tree, "rev-parse", "--verify", "--end-of-options", short+"^{commit}")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return r.missing(short)
	}
	commit := strings.TrimSpace(out)
	if !strings.HasPrefix(commit, r.checksum) {
		return r.mismatch(commit)
	}
	r.work, r.commit = tree, commit
	return nil
}

func (r *Repo) mismatch(commit string) error {
	return fault.New("look whether the commit is the one that is meant; if so, write --checksum="+commit,
		"%s has another commit than it should: %s, not %s", Redacted(r.git.remote), commit, r.checksum)
}

// pick chooses among the lines of ls-remote as git checkout does: a full name,
// then a branch, then a tag. object is what the name stands for itself, which of
// an annotated tag isn't the commit.
func pick(lines, want string) (name, object, commit string) {
	refs := map[string]string{}
	for line := range strings.Lines(lines) {
		if sha, ref, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && commitID.MatchString(sha) {
			refs[ref] = sha
		}
	}
	for _, name := range []string{want, "refs/" + strings.TrimPrefix(want, "refs/"), "refs/heads/" + want, "refs/tags/" + want} {
		object := refs[name]
		if object == "" || name != "HEAD" && !strings.HasPrefix(name, "refs/") {
			continue
		}
		if tagged := refs[name+"^{}"]; tagged != "" {
			return name, object, tagged
		}
		return name, object, object
	}
	return "", "", ""
}
