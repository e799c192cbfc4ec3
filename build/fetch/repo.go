package fetch

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"golang.org/x/sys/unix"

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
	path   string // of the work tree, once it is here
}

// commitID is a whole commit's name, in either of git's formats.
var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// NewRepo reads an address with BuildKit's #ref:subdir or query. keep and
// checksum are what flags say beside it: whether .git stays, and how the
// commit's name begins. dir is nil where nothing may be fetched.
func NewRepo(address string, keep *bool, checksum string, dir Dir) (*Repo, error) {
	ref, _, err := dfgitutil.ParseGitRef(address)
	if err != nil {
		return nil, fault.New("", "%s: %w", redacted(address), err)
	}
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
		return nil, fault.New("write the commit's digits", "--checksum=%s is no commit", checksum)
	}
	g, err := newGit(ref.Remote)
	if err != nil {
		return nil, err
	}
	return &Repo{git: g, ref: ref, keep: keep != nil && *keep, checksum: checksum, dir: dir}, nil
}

// Subdir is the directory in the repository that is meant, "" for all of it.
func (r *Repo) Subdir() string { return strings.Trim(path.Clean("/"+r.ref.SubDir), "/") }

// Identity says which files these are: the commit, and what else decides them.
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
	case commit == "":
		return fault.New("branches and tags are known by their names, commits by all of their digits: git ls-remote "+r.git.remote,
			"%s has no %s", r.git.remote, want)
	case !strings.HasPrefix(commit, r.checksum) && !strings.HasPrefix(object, r.checksum):
		return r.mismatch(commit)
	}
	r.name, r.commit = name, commit
	return nil
}

func (r *Repo) mismatch(commit string) error {
	return fault.New("look whether the commit is the one that is meant; if so, write --checksum="+commit,
		"%s has another commit than it should: %s, not %s", r.git.remote, commit, r.checksum)
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

// Fetch brings the commit's files into a directory, with the modes that git
// knows and the commit's time.
func (r *Repo) Fetch(ctx context.Context) (dir string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path != "" {
		return r.path, nil
	}
	if err := r.resolve(ctx); err != nil {
		return "", err
	}
	above, err := r.dir()
	if err != nil {
		return "", err
	}
	tree, err := os.MkdirTemp(above, "git-")
	if err != nil {
		return "", err
	}
	commit, err := r.checkOut(ctx, tree)
	if err != nil {
		return "", err
	}
	seconds, err := r.git.run(ctx, tree, "show", "--no-patch", "--format=%ct", commit, "--")
	if err != nil {
		return "", err
	}
	if r.keep {
		err = r.tidy(ctx, tree)
	} else {
		err = removeGit(tree)
	}
	if err != nil {
		return "", err
	}
	if err := setTimes(tree, strings.TrimSpace(seconds)); err != nil {
		return "", err
	}
	r.path = tree
	return tree, nil
}

// checkOut makes a repository in an empty directory and checks the commit out.
func (r *Repo) checkOut(ctx context.Context, tree string) (commit string, err error) {
	format := "sha1"
	if len(r.commit) == 64 {
		format = "sha256"
	}
	for _, args := range [][]string{
		{"-c", "init.defaultBranch=master", "init", "--quiet", "--template=", "--object-format=" + format},
		{"remote", "add", "origin", r.git.remote},
	} {
		if _, err := r.git.run(ctx, tree, args...); err != nil {
			return "", err
		}
	}
	if err := r.bring(ctx, tree); err != nil {
		return "", err
	}
	// The digits that were given may be an annotated tag's.
	if commit, err = r.git.run(ctx, tree, "rev-parse", "--verify", "--end-of-options", r.commit+"^{commit}"); err != nil {
		return "", err
	}
	commit = strings.TrimSpace(commit)
	if _, err := r.git.run(ctx, tree, "checkout", "--quiet", "--detach", commit, "--"); err != nil {
		return "", err
	}
	if !r.submodules() {
		return commit, nil
	}
	return commit, r.git.shallow(ctx, tree, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
}

// bring fetches the commit: alone where the server permits it, else with all
// that leads to it.
func (r *Repo) bring(ctx context.Context, tree string) error {
	refspec := r.commit
	switch {
	case strings.HasPrefix(r.name, "refs/heads/"):
		refspec = "+" + r.name + ":refs/remotes/origin/" + strings.TrimPrefix(r.name, "refs/heads/")
	case strings.HasPrefix(r.name, "refs/"):
		refspec = "+" + r.name + ":" + r.name
	case r.name != "":
		refspec = r.name
	}
	err := r.git.shallow(ctx, tree, "fetch", "--quiet", "--no-tags", "--depth=1", "--", "origin", refspec)
	if err == nil && r.has(ctx, tree) {
		return nil
	}
	if err != nil && r.name != "" {
		return err
	}
	// The server gives no single commits, or the branch has gone on since.
	if err = r.git.shallow(ctx, tree, "fetch", "--quiet", "--no-tags", "--depth=1", "--", "origin", r.commit); err == nil {
		return nil
	}
	unshallow := []string{"fetch", "--quiet", "--"}
	if _, err := os.Lstat(filepath.Join(tree, ".git", "shallow")); err == nil {
		unshallow = []string{"fetch", "--quiet", "--unshallow", "--"}
	}
	if _, err := r.git.run(ctx, tree, append(unshallow, "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")...); err != nil {
		return err
	}
	if !r.has(ctx, tree) {
		return fault.New("name a commit, branch or tag that the repository has: git ls-remote "+r.git.remote,
			"%s has no commit %s on its branches and tags", r.git.remote, r.commit)
	}
	return nil
}

func (r *Repo) has(ctx context.Context, tree string) bool {
	_, err := r.git.run(ctx, tree, "cat-file", "-e", r.commit)
	return err == nil
}

// tidy takes out of a .git that stays what only this fetch has left there.
func (r *Repo) tidy(ctx context.Context, tree string) error {
	if _, err := r.git.run(ctx, tree, "reflog", "expire", "--all", "--expire=now"); err != nil {
		return err
	}
	for _, name := range []string{"FETCH_HEAD", "ORIG_HEAD"} {
		if err := os.RemoveAll(filepath.Join(tree, ".git", name)); err != nil {
			return err
		}
	}
	return nil
}

// removeGit removes the .git of a work tree and of its submodules.
func removeGit(tree string) error {
	return filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != ".git" {
			return err
		}
		if err := os.RemoveAll(name); err != nil || !d.IsDir() {
			return err
		}
		return fs.SkipDir
	})
}

// setTimes gives everything in a tree the time of a commit, so that the same
// commit gives the same files whenever it is fetched.
func setTimes(tree, seconds string) error {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the commit's time %q: %w", seconds, err)
	}
	ts := unix.NsecToTimespec(time.Unix(n, 0).UnixNano())
	return filepath.WalkDir(tree, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}
