package context

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"

	"github.com/builder-oci/builder/internal/fault"
)

// commitHash is what can only be a commit, perhaps abbreviated.
var commitHash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// clone fetches a repository's ref into dir and gives the directory that the
// address means.
func (f Fetcher) clone(ctx context.Context, ref, dir string) (string, error) {
	g, _, err := dfgitutil.ParseGitRef(ref)
	if err != nil {
		return "", fault.New("write it as https://HOST/REPOSITORY.git#REF:DIRECTORY", "the git address %s: %w", redacted(ref), err)
	}
	if strings.HasPrefix(g.Ref, "-") {
		return "", fault.New("name a branch, a tag or a commit", "the git address %s: %q is no ref", redacted(ref), g.Ref)
	}
	r := repository{fetcher: f, dir: dir, remote: g.Remote}
	if g.IndistinguishableFromLocal {
		r.remote = "https://" + g.Remote
	}
	if err := r.checkOut(ctx, g); err != nil {
		return "", fault.At(redacted(ref), err)
	}
	if !f.KeepGitDir && (g.KeepGitDir == nil || !*g.KeepGitDir) {
		if err := r.dropGitDirs(); err != nil {
			return "", err
		}
	}
	return subdirectory(dir, g.SubDir, ref)
}

// subdirectory finds the part of a repository that is asked for. Links on the
// way are the stranger's.
func subdirectory(dir, sub, ref string) (string, error) {
	if sub == "" {
		return dir, nil
	}
	clean, err := insideName(sub)
	if err == nil {
		var root *os.Root
		if root, err = os.OpenRoot(dir); err != nil {
			return "", err
		}
		defer root.Close()
		var st fs.FileInfo
		if st, err = root.Stat(clean); err == nil && !st.IsDir() {
			err = errors.New("it is no directory")
		}
	}
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", fault.New("name a directory of the repository behind the colon", "the directory %s of %s: %w", sub, redacted(ref), err)
	}
	return filepath.EvalSymlinks(filepath.Join(dir, clean))
}

// repository is a clone that is being made.
type repository struct {
	fetcher     Fetcher
	dir, remote string
}

func (r repository) checkOut(ctx context.Context, g *dfgitutil.GitRef) error {
	for _, args := range [][]string{{"init", "-q"}, {"remote", "add", "--", "origin", r.remote}} {
		if _, err := r.git(ctx, args...); err != nil {
			return err
		}
	}
	commit, err := r.fetch(ctx, g)
	if err != nil {
		return err
	}
	if g.Checksum != "" && !strings.HasPrefix(commit, g.Checksum) {
		return fault.New("the ref has moved, or the address names another commit", "the commit is %s, and the address asks for %s", commit, g.Checksum)
	}
	if _, err := r.git(ctx, "checkout", "-q", "--detach", commit); err != nil {
		return err
	}
	if g.Submodules != nil && !*g.Submodules {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(r.dir, ".gitmodules")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err = r.git(ctx, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")
	return err
}

// fetch gives the full hash of the commit that is asked for. Not every server
// hands out a commit that no ref names: then all refs are fetched, and it has to
// be among what leads to them.
func (r repository) fetch(ctx context.Context, g *dfgitutil.GitRef) (string, error) {
	want := g.Ref
	if want == "" {
		want = g.Checksum
	}
	if want == "" {
		want = "HEAD"
	}
	_, err := r.git(ctx, "fetch", "-q", "--depth=1", "--no-tags", "--", "origin", want)
	if err == nil {
		return r.git(ctx, "rev-parse", "FETCH_HEAD^{commit}")
	}
	if ctx.Err() != nil {
		return "", err
	}
	if strings.Contains(err.Error(), "shallow") { // a plain web server can't cut the history off
		if _, err := r.git(ctx, "fetch", "-q", "--no-tags", "--", "origin", want); err == nil {
			return r.git(ctx, "rev-parse", "FETCH_HEAD^{commit}")
		}
	}
	if !commitHash.MatchString(want) {
		return "", err
	}
	if _, err := r.git(ctx, "fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"); err != nil {
		return "", err
	}
	return r.git(ctx, "rev-parse", "--verify", want+"^{commit}")
}

// dropGitDirs removes .git, and the files of that name that submodules have.
func (r repository) dropGitDirs() error {
	return filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != ".git" {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

// git runs the git program in the repository. Files get the modes that most
// checkouts have, whatever the caller's umask.
func (r repository) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `umask 022; exec git "$@"`, "git"}, args...)...)
	cmd.Dir = r.dir
	cmd.WaitDelay = time.Second // for its helpers, which hold its output open
	cmd.Env = append(gitEnv(), "GIT_TERMINAL_PROMPT=0")
	if r.fetcher.Command != nil && overSSH(r.remote) {
		r.fetcher.Command(cmd)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 127 {
		return "", fault.New("sudo apt-get install git", "a git address as build context needs the git program")
	}
	return "", r.explain(args[0], err, stderr.String())
}

// overSSH tells ssh://… and git@host:path from what git fetches itself.
func overSSH(remote string) bool {
	return strings.HasPrefix(remote, "ssh://") || !strings.Contains(remote, "://")
}

// gitEnv is the environment without what would lead git to another repository,
// as in a hook.
func gitEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}, name)
	})
}

// explain makes an error of git's last words.
func (r repository) explain(verb string, err error, said string) error {
	said = strings.TrimSpace(strings.ReplaceAll(said, r.remote, redacted(r.remote)))
	why := fmt.Errorf("git %s: %w", verb, err)
	for _, line := range strings.Split(said, "\n") {
		if text, ok := strings.CutPrefix(line, "fatal: "); ok {
			why = fmt.Errorf("git %s: %s", verb, text)
			break
		}
	}
	remedy := ""
	if verb == "fetch" {
		remedy = "look whether repository and ref are right, and whether you may read it: git ls-remote " + redacted(r.remote)
	}
	e := fault.New(remedy, "%w", why)
	if said != "" && !strings.Contains(why.Error(), strings.TrimPrefix(said, "fatal: ")) {
		e.Detail = strings.Split(said, "\n")
	}
	return e
}
