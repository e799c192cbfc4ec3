package context

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"

	"github.com/builder-oci/builder/internal/dirnames"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/buildkit/util/suggest"
)

// Match is one entry that a source of COPY or ADD names.
type Match struct {
	// Name is the last component of the path as the source named it: what a
	// file is called in a destination directory. "" for the root.
	Name string
	// Path is where the entry is, links followed; "" is the root.
	Path string
}

// Glob calls found for each entry that a source of COPY or ADD names, in order. A
// source is seen from the context's root, also with a leading slash or "..".
// Wildcards are matched component by component, leading dots included. Links
// before the first wildcard and a link that is itself the source are followed
// inside the root, so that Match.Path never is a link; links in between aren't,
// as BuildKit has it. What is left out doesn't match.
//
// A source without wildcards that isn't there is a *fault.Error that says why.
// Wildcards that match nothing give nothing, as docker has it.
func (d *Dir) Glob(pattern string, found func(Match) error) error {
	literal, wild := splitWildcards(cleanPath(pattern))
	start, err := d.resolve(literal)
	if err != nil {
		return d.missing(pattern, literal)
	}
	f, err := d.filter()
	if err != nil {
		return err
	}
	if len(wild) == 0 {
		if ok, err := d.present(f, start); err != nil || !ok {
			return errors.Join(err, d.missingIf(!ok && err == nil, pattern, start))
		}
		return found(Match{Name: name(literal), Path: start})
	}
	if _, err := d.Lstat(start); err != nil {
		return d.missing(pattern, start)
	}
	for _, component := range wild {
		if _, err := path.Match(component, ""); err != nil {
			return fault.New("quote a bracket that stands for itself: [[]", "the pattern %q can't be read: %w", pattern, err)
		}
	}
	return d.expand(start, wild, func(rel string) error {
		m, ok, err := d.follow(f, pattern, rel)
		if err != nil || !ok {
			return err
		}
		return found(m)
	})
}

// expand calls found for each path below dir that the components match.
func (d *Dir) expand(dir string, components []string, found func(rel string) error) error {
	list, err := d.names(dir, make([]byte, dirnames.Buffer))
	if err != nil {
		return err
	}
	for i := range list.Len() {
		name := list.At(i)
		if match, err := path.Match(components[0], name); err != nil || !match {
			continue
		}
		p := list.Path(dir, i)
		if len(components) == 1 {
			err = found(p)
		} else {
			err = d.expand(p, components[1:], found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow makes a match of a path that a wildcard found, if the rules keep it.
func (d *Dir) follow(f *filter, pattern, rel string) (Match, bool, error) {
	ok, err := d.present(f, rel)
	if err != nil || !ok {
		return Match{}, false, err
	}
	target, err := d.resolve(rel)
	if err != nil {
		return Match{}, false, d.missing(pattern, rel)
	}
	if target != rel {
		if ok, err = d.present(f, target); err != nil || !ok {
			return Match{}, false, errors.Join(err, d.missingIf(!ok && err == nil, pattern, target))
		}
	}
	return Match{Name: name(rel), Path: target}, true, nil
}

// present says whether there is an entry at a path that the rules keep, or
// that holds one.
func (d *Dir) present(f *filter, rel string) (bool, error) {
	e, err := d.Lstat(rel)
	if err != nil {
		if isMissing(err) {
			return false, nil
		}
		return false, d.unreadable(rel, errors.Unwrap(err))
	}
	v, err := f.judge(rel)
	if err != nil || !v.excluded {
		return err == nil, err
	}
	if !e.IsDir() || !f.mayHoldException(rel) {
		return false, nil
	}
	found := errors.New("found")
	err = d.Walk(context.Background(), rel, func(*Entry) error { return found })
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// resolve follows the links in a path inside the root, as if the root were /.
// What doesn't exist is kept as it is.
func (d *Dir) resolve(rel string) (string, error) {
	full, err := securejoin.SecureJoin(d.root, rel)
	if err != nil {
		return "", err
	}
	return cleanPath(strings.TrimPrefix(full, d.root)), nil
}

// missingIf is missing where a condition holds.
func (d *Dir) missingIf(is bool, pattern, rel string) error {
	if !is {
		return nil
	}
	return d.missing(pattern, rel)
}

// missing says why a source names nothing. rel is where it was looked for.
func (d *Dir) missing(pattern, rel string) error {
	if err := d.refuseOwn(rel); err != nil {
		return err
	}
	if by := d.excludedOnDisk(rel); by != "" {
		return fault.New("remove that line, or add an exception below it: !"+rel,
			"%s is in the build context, but %s leaves it out", rel, by)
	}
	if strings.HasPrefix(path.Clean(pattern), "..") {
		return fault.New("only files in the context can be copied: choose a directory above it as the context, and name the Dockerfile by --file",
			"%s leads outside %s", pattern, d.called)
	}
	if e, err := d.Lstat(cleanPath(pattern)); err == nil && e.IsLink() {
		return fault.New("links are followed inside the context only",
			"%s is a link to %s, which is not in %s", pattern, e.Linkname, d.called)
	}
	return fault.New(d.hint(pattern, rel), "%s is not in %s", pattern, d.called)
}

// excludedOnDisk is the line of the ignore file that hides an existing path.
func (d *Dir) excludedOnDisk(rel string) string {
	if _, err := d.Lstat(rel); err != nil {
		return ""
	}
	_, by := d.Excluded(rel)
	return by
}

// hint guesses what a missing source was meant to be.
func (d *Dir) hint(pattern, rel string) string {
	if inside, ok := strings.CutPrefix(pattern, strings.TrimSuffix(d.root, "/")+"/"); ok {
		return "paths are seen from the context: write " + inside
	}
	parent := cleanPath(path.Dir("/" + rel))
	list, err := d.names(parent, make([]byte, dirnames.Buffer))
	if err != nil {
		return ""
	}
	paths := below(list, parent)
	if len(paths) == 0 && parent == "" {
		return "the build context is empty: give a directory, or an archive of one"
	}
	for _, p := range paths {
		if strings.EqualFold(p, rel) {
			return fmt.Sprintf("did you mean %s? Names differ by upper and lower case", p)
		}
	}
	if meant, ok := suggest.Search(rel, paths, true); ok {
		return "did you mean " + meant + "?"
	}
	return ""
}

// below gives the paths of the names in a directory.
func below(names dirnames.List, dir string) []string {
	paths := make([]string, names.Len())
	for i := range paths {
		paths[i] = names.Path(dir, i)
	}
	return paths
}

// splitWildcards splits a pattern before its first component with a wildcard.
func splitWildcards(pattern string) (literal string, wild []string) {
	components := strings.Split(pattern, "/")
	for i, c := range components {
		if hasWildcard(c) {
			return strings.Join(components[:i], "/"), components[i:]
		}
	}
	return pattern, nil
}

// hasWildcard says whether a component can match other names than itself. A
// backslash takes the meaning from what follows it.
func hasWildcard(component string) bool {
	for i := 0; i < len(component); i++ {
		switch component[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// name is a path's last component, "" for the root.
func name(rel string) string { return rel[strings.LastIndexByte(rel, '/')+1:] }
