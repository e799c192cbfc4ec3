package storage

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/gc"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Sweep removes what killed commands left, and what finished ones couldn't
// remove because others were using the store. It is cheap where there is
// nothing: one read of sessions/. Outside the user namespace files of subordinate ids
// can't be removed: what such a session left stays for a command inside.
//
// What stands in the way of clean-up stands in the way of nothing else: it is
// told as a warning. An error means that ctx has ended, or that the store isn't
// held any more.
func (s *Store) Sweep(ctx context.Context, inside bool) error {
	if err := s.sweepSessions(ctx, inside); err != nil {
		s.warn(err)
	}
	if inside {
		if err := s.sweepKept(ctx); err != nil {
			s.warn(err)
		}
	}
	err := s.Collector(inside).Tidy(ctx)
	if errors.Is(err, gc.ErrNotHeld) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		s.warn(err)
	}
	return ctx.Err()
}

// warn tells of what remains; not of what is left to a process that has the ids of
// its files, for every command would.
func (s *Store) warn(err error) {
	level := slog.LevelWarn
	if foreign := (*removal.Foreign)(nil); errors.As(err, &foreign) {
		level = slog.LevelDebug
	}
	slog.Log(context.Background(), level, "something couldn't be cleaned up, and is left to a later command", "store", s.root, "error", err)
}

func (s *Store) sweepSessions(ctx context.Context, inside bool) error {
	names, err := os.ReadDir(s.Dir(sessionsDir))
	errs := []error{err}
	for _, name := range names {
		n := name.Name()
		if ctx.Err() != nil || n == s.sessionID || name.IsDir() {
			continue
		}
		errs = append(errs, s.sweepSession(n, inside))
	}
	return errors.Join(errs...)
}

// sweepSession removes what session id left, if nobody holds its lock.
func (s *Store) sweepSession(id string, inside bool) error {
	path := filepath.Join(s.Dir(sessionsDir), id)
	l, dead, err := lock.TryExclusive(path)
	if err != nil || !dead {
		return err
	}
	defer l.Unlock()
	if !strings.HasPrefix(id, atomicfile.Prefix) {
		done, err := s.removeLeftovers(id, path+".d", inside)
		if err != nil || !done {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeLeftovers reports whether a dead session has nothing left.
func (s *Store) removeLeftovers(id, dir string, inside bool) (bool, error) {
	if err := s.removeTemps(id); err != nil {
		return false, err
	}
	trees, err := readJournal(dir)
	if err != nil {
		return false, err
	}
	if len(trees) > 0 && !inside {
		return false, nil
	}
	kept, err := s.keptTrees(trees)
	if err != nil {
		return false, err
	}
	for _, t := range trees {
		if kept[t.tree] || s.recorded(t) {
			continue
		}
		if err := snapshot.RemoveTree(s.Dir(snapshotsDir), t.tree.root, t.tree.id); err != nil {
			return false, err
		}
	}
	err = removal.All(dir)
	if errors.Is(err, fs.ErrPermission) && !inside {
		return false, nil
	}
	return err == nil, err
}

// removeTemps removes the blobs that session id was writing. They are files of
// the user's own.
func (s *Store) removeTemps(id string) error {
	prefix := atomicfile.Prefix + id + "-"
	blobs := filepath.Join(s.layout.BlobsDir(), digest.SHA256.String())
	for _, dir := range []string{blobs, s.layout.Dir()} {
		names, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !strings.HasPrefix(name.Name(), prefix) {
				continue
			}
			if err := removal.All(filepath.Join(dir, name.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// recorded reports whether a record names the tree.
func (s *Store) recorded(t journalled) bool {
	for _, key := range t.keys {
		rec, err := s.records.Get(key)
		if err == nil && rec.Trees[t.tree.root].ID == t.tree.id {
			return true
		}
	}
	return false
}
