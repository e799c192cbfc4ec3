package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

const (
	// filesAtOnce is how many files are open at once while they are synced.
	filesAtOnce = 128
	// syncsAtOnce is how many requests the disk gets together, so that one
	// commit of its journal can serve many.
	syncsAtOnce = 16
	// writable is the permission that a file loses when it has been synced.
	writable = 0o222
)

// Sync puts files that WriteUnsynced or StreamUnsynced wrote on stable storage,
// with their names. Those that are missing are passed over.
//
// A file that has been synced is made read-only: so every later process knows,
// by one lstat, that it needn't be synced again. It is never written to after
// that, but replaced by another, which is writable until it is synced itself.
// Nothing is concluded from a file's age: the kernel doesn't promise when it
// writes.
func Sync(ctx context.Context, paths []string) error {
	var fresh []string
	for _, path := range paths {
		if st, err := os.Lstat(path); err == nil && st.Mode()&writable != 0 {
			fresh = append(fresh, path)
		}
	}
	for batch := range slices.Chunk(fresh, filesAtOnce) {
		if err := syncBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// syncBatch keeps the files open until they are marked: their names may mean
// others by then.
func syncBatch(ctx context.Context, paths []string) error {
	files, dirs, err := openAll(paths)
	defer func() {
		for _, f := range files {
			_ = f.Close() // only read
		}
	}()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(syncsAtOnce)
	for _, f := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return syncContent(f)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := SyncDir(dir); err != nil {
			return err
		}
	}
	for _, f := range files {
		if st, err := f.Stat(); err == nil {
			_ = f.Chmod(st.Mode().Perm() &^ writable) // without the mark it is synced again, no more
		}
	}
	return nil
}

// openAll opens the files that are there, and tells the directories that they
// are in.
func openAll(paths []string) (files []*os.File, dirs []string, err error) {
	in := map[string]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, nil, err
		}
		files = append(files, f)
		in[filepath.Dir(path)] = true
	}
	return files, slices.Sorted(maps.Keys(in)), nil
}

// syncContent leaves an empty file to its directory, whose entry is all that it
// is.
func syncContent(f *os.File) error {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	return f.Sync()
}
