package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// writtenBack is the age from which the kernel has written a file to disk by
// itself: it does so after 35 seconds unless told otherwise.
const writtenBack = time.Minute

// SyncYoung puts files of dir that WriteUnsynced wrote on stable storage, with
// their names. Those that are missing, or so old that the kernel has seen to
// them, are passed over. The disk gets the requests together, so that one
// commit of its journal can serve many.
func SyncYoung(ctx context.Context, dir string, paths []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	young := false
	for _, path := range paths {
		st, err := os.Lstat(path)
		if err != nil || time.Since(st.ModTime()) > writtenBack {
			continue
		}
		young = true
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return syncFile(path)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !young {
		return nil
	}
	return SyncDir(dir)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
