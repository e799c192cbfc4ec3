package context

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/build/fetch"
	"github.com/builder-oci/builder/internal/fault"
)

// checkOut brings a commit of a repository and gives the directory that the
// address means.
func (f Fetcher) checkOut(ctx context.Context, ref string) (*Fetched, error) {
	repo, err := fetch.NewRepo(ref, fetch.RepoOptions{
		AlwaysGitDir: f.KeepGitDir, Access: f.Access, Dir: func() (string, error) { return f.Dir, nil },
	})
	if err != nil {
		return nil, aboutContext(err)
	}
	tree, err := repo.Fetch(ctx)
	if err != nil {
		return nil, aboutContext(err)
	}
	dir, err := Subdirectory(tree.Dir, repo.Subdir(), ref)
	return &Fetched{Dir: dir, Time: tree.Time}, err
}

// Subdirectory finds the part of a context that is asked for, "" for all of it.
// Links on the way are the stranger's. Errors call the context ref.
func Subdirectory(dir, sub, ref string) (string, error) {
	if sub == "" {
		return dir, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	st, err := root.Stat(sub)
	if err == nil && !st.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		if ref == Stdin {
			ref = "the standard input"
		}
		return "", fault.New("name a directory that it has", "the directory %s of %s: %w", sub, Redacted(ref), err)
	}
	return filepath.EvalSymlinks(filepath.Join(dir, sub))
}
