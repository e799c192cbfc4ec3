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
func (s *selection) loadParents(ctx context.Context, files Files, named string, f filter) error {
	base, pattern := pivot(named)
	if pattern != "" {
		var err error
		if f.include, err = newMatcher("--parents", []string{pattern}); err != nil {
			return err
		}
	}
	if isPattern(base) {
		literal, _ := literalDirs(pattern)
		return s.loadPattern(ctx, files, Pattern{base, literal}, f)
	}
	matches, err := globAll(files, base)
	if err != nil {
		return err
	}
	for _, m := range matches {
		it := item{source: source{name: m.Name, base: m.Path}, files: files, filter: f}
		if it.top, err = files.Lstat(m.Path); err != nil {
			return err
		}
		if it.top.Type != tar.TypeDir {
			continue // nothing is below a file
		}
		if err := s.listParents(ctx, &it, named, pattern); err != nil {
			return err
		}
		s.items = append(s.items, it)
	}
	return nil
}

// listParents lists an item's entries. Only what is below the part of the
// pattern that has no wildcards is read.
func (s *selection) listParents(ctx context.Context, it *item, named, pattern string) error {
	literal, wild := literalDirs(pattern)
	it.from = path.Join(it.base, literal)
	it.within = literal == ""
	required := !wild && !isPattern(named)
	if required && !strings.ContainsAny(it.from, wildcards) {
		if _, err := globAll(it.files, "/"+it.from); err != nil {
			return err
		}
	}
	leads, found, err := leadTo(it.files, it.base, literal, required)
	if err != nil || !found {
		return err
	}
	it.leads = leads
	return s.list(ctx, it)
}

// leadTo gives the directories that lead to a path below another, and says whether
// something is there. A link on the way is an error where that is required.
func leadTo(files Files, base, below string, required bool) (leads []*File, found bool, err error) {
	dir := ""
	for _, part := range strings.Split(below, "/") {
		dir = path.Join(dir, part)
		e, err := files.Lstat(path.Join(base, dir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		switch {
		case dir == below:
			return leads, true, nil
		case e.Type == tar.TypeDir:
			leads = append(leads, e)
		case required:
			return nil, false, fault.New("name the directory that it leads to", "--parents follows no links, and %s is none of the directories that it keeps", dir)
		default:
			return nil, false, nil
		}
	}
	return leads, true, nil
}
