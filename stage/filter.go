package stage

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// filter chooses among the entries of a source: those that include matches and
// exclude doesn't, by .dockerignore's rules over paths as seen from the source.
// A nil matcher includes all, or excludes nothing.
type filter struct {
	include, exclude *patternmatcher.PatternMatcher
}

// newMatcher compiles patterns; nil for none.
func newMatcher(flag string, patterns []string) (*patternmatcher.PatternMatcher, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err == nil {
		_, err = m.MatchesOrParentMatches("x") // compiles them
	}
	if err != nil {
		return nil, fault.New("patterns are those of .dockerignore", "%s %s: %w", flag, strings.Join(patterns, " "), err)
	}
	return m, nil
}

// verdict is what the patterns say of a directory, from which those of its
// entries are made.
type verdict struct{ include, exclude patternmatcher.MatchInfo }

// apply gives the entries of a source that are chosen, and the directories that
// lead to them. rel gives an entry's path below the source; parents come first.
func (f filter) apply(entries []*layer.Entry, rel func(*layer.Entry) string) ([]*layer.Entry, error) {
	if f.include == nil && f.exclude == nil {
		return entries, nil
	}
	dirs := map[string]verdict{}
	chosen := map[string]bool{}
	for _, e := range entries {
		name := rel(e)
		keep, v, err := f.judge(name, dirs[parentDir(name)])
		if err != nil {
			return nil, err
		}
		if e.Type == tar.TypeDir {
			dirs[name] = v
		}
		if !keep {
			continue
		}
		for ; name != "" && !chosen[name]; name = parentDir(name) {
			chosen[name] = true
		}
	}
	var kept []*layer.Entry
	for _, e := range entries {
		if chosen[rel(e)] {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// judge says whether a path is chosen itself.
func (f filter) judge(name string, parent verdict) (keep bool, v verdict, err error) {
	keep = true
	if f.include != nil {
		if keep, v.include, err = f.include.MatchesUsingParentResults(name, parent.include); err != nil {
			return false, v, err
		}
	}
	if f.exclude != nil {
		var out bool
		out, v.exclude, err = f.exclude.MatchesUsingParentResults(name, parent.exclude)
		keep = keep && !out
	}
	return keep, v, err
}

// pivot splits a source of COPY --parents where "/./" stands: what comes before
// is left out of the destination. What follows is a pattern, and may be empty.
func pivot(source string) (base, pattern string) {
	base, pattern, found := strings.Cut(source, "/./")
	if !found {
		base, pattern = "", source
	}
	return base, strings.TrimPrefix(path.Clean("/"+pattern), "/")
}

// literalDirs splits a pattern before its first component with a wildcard.
func literalDirs(pattern string) (literal string, wild bool) {
	components := strings.Split(pattern, "/")
	for i, c := range components {
		if strings.ContainsAny(c, wildcards) {
			return path.Join(components[:i]...), true
		}
	}
	return pattern, false
}
