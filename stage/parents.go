package stage

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// loadParents lists what a source of COPY --parents names, with the directories
// that lead there from the pivot on. Links on the way aren't followed, and one
// that is named is copied itself, as BuildKit has it. Without a wildcard the
// source has to be there.
func (s *selection) loadParents(ctx context.Context, files Files, source string, f filter) error {
	base, pattern := pivot(source)
	matches, err := files.Glob(base)
	if err != nil {
		return err
	}
	if pattern != "" {
		if f.include, err = newMatcher("--parents", []string{pattern}); err != nil {
			return err
		}
	}
	for _, m := range matches {
		it := item{name: m.Name, files: files, base: m.Path}
		if it.top, err = files.Lstat(m.Path); err != nil {
			return err
		}
		if it.top.Type != tar.TypeDir {
			continue // nothing is below a file
		}
		if err := s.listParents(ctx, &it, source, pattern, f); err != nil {
			return err
		}
		s.items = append(s.items, it)
	}
	return nil
}

// listParents fills in an item's entries. Only what is below the part of the
// pattern that has no wildcards is read.
func (s *selection) listParents(ctx context.Context, it *item, source, pattern string, f filter) error {
	literal, wild := literalDirs(pattern)
	required := !wild && !strings.ContainsAny(source, wildcards)
	if required {
		if _, err := it.files.Glob("/" + escape(path.Join(it.base, literal))); err != nil {
			return err
		}
	}
	dir := ""
	for _, part := range strings.Split(parentDir(literal), "/") {
		if dir = path.Join(dir, part); dir == "" {
			continue
		}
		e, err := it.files.Lstat(path.Join(it.base, dir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Type != tar.TypeDir {
			if required {
				return fault.New("name the directory that it leads to", "--parents follows no links, and %s is none of the directories that it keeps", dir)
			}
			return nil
		}
		it.entries = append(it.entries, e)
	}
	top := it.top
	if literal != "" {
		if _, err := it.files.Lstat(path.Join(it.base, literal)); errors.Is(err, fs.ErrNotExist) {
			it.entries = nil
			return nil
		}
	} else {
		it.top = nil // the walk gives it
	}
	err := s.list(ctx, it, path.Join(it.base, literal), f)
	it.top = top
	return err
}

// escape makes a literal path a pattern that names it.
func escape(literal string) string {
	return strings.NewReplacer("\\", "\\\\", "*", "\\*", "?", "\\?", "[", "\\[").Replace(literal)
}
