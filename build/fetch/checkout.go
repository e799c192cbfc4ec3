package fetch

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// Checkout is a work tree that was fetched.
type Checkout struct {
	Dir string
	// Time is the commit's, and that of everything in the directory.
	Time time.Time
}

// Fetch brings the commit's files into a directory, with the modes that git
// knows and the commit's time.
func (r *Repo) Fetch(ctx context.Context) (Checkout, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path != "" {
		return Checkout{r.path, r.time}, nil
	}
	if err := r.resolve(ctx); err != nil {
		return Checkout{}, err
	}
	tree, commit, err := r.checkOut(ctx)
	if err != nil {
		return Checkout{}, err
	}
	out, err := r.git.run(ctx, tree, "show", "--no-patch", "--format=%ct", commit, "--")
	if err != nil {
		return Checkout{}, err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return Checkout{}, fmt.Errorf("the commit's time %q: %w", out, err)
	}
	if r.keep {
		err = r.tidy(ctx, tree)
	} else {
		err = removeGit(tree)
	}
	if err != nil {
		return Checkout{}, err
	}
	r.time = time.Unix(seconds, 0)
	if err := setTimes(tree, r.time); err != nil {
		return Checkout{}, err
	}
	r.path = tree
	return Checkout{r.path, r.time}, nil
}

// begin makes a repository that knows where the other one is.
func (r *Repo) begin(ctx context.Context, format string) (tree string, err error) {
	above, err := r.dir()
	if err != nil {
		return "", err
	}
	if tree, err = os.MkdirTemp(above, "git-"); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"-c", "init.defaultBranch=master", "init", "--quiet", "--template=", "--object-format=" + format},
		{"remote", "add", "--", "origin", r.git.remote},
	} {
		if _, err := r.git.run(ctx, tree, args...); err != nil {
			return "", err
		}
	}
	return tree, nil
}

// checkOut makes a work tree of the commit.
func (r *Repo) checkOut(ctx context.Context) (tree, commit string, err error) {
	if tree = r.work; tree == "" {
		format := "sha1"
		if len(r.commit) == 64 {
			format = "sha256"
		}
		if tree, err = r.begin(ctx, format); err != nil {
			return "", "", err
		}
		if err := r.bring(ctx, tree); err != nil {
			return "", "", err
		}
	}
	// The digits that were given may be an annotated tag's.
	if commit, err = r.git.run(ctx, tree, "rev-parse", "--verify", "--end-of-options", r.commit+"^{commit}"); err != nil {
		return "", "", err
	}
	commit = strings.TrimSpace(commit)
	if _, err := r.git.run(ctx, tree, "checkout", "--quiet", "--detach", commit, "--"); err != nil {
		return "", "", err
	}
	if !r.submodules() {
		return tree, commit, nil
	}
	err = r.git.shallow(ctx, tree, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
	if err != nil && ctx.Err() == nil {
		err = fault.New("leave them out by "+Redacted(r.git.remote)+"?submodules=false, or see that they can be reached", "the submodules of %w", err)
	}
	return tree, commit, err
}

// everything is what a repository names: its branches and tags.
var everything = []string{"+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"}

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
	if _, err := r.git.run(ctx, tree, slices.Concat(unshallow, []string{"origin"}, everything)...); err != nil {
		return err
	}
	if !r.has(ctx, tree) {
		return r.missing("commit " + r.commit + " on its branches and tags")
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
func setTimes(tree string, at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	return filepath.WalkDir(tree, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}
