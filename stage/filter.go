package stage

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/builder-oci/builder/internal/fault"
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

// chooser hands on the entries that a filter chooses, and before them the
// directories that lead to them. rel gives an entry's path below the source.
type chooser struct {
	filter
	rel   func(*File) string
	fn    func(*File) error
	above []judgedDir // those that lead to where the walk is
}

// judgedDir is a directory that has been judged.
type judgedDir struct {
	name string
	verdict
	held *File // until it is handed on
}

// pass takes the next entry of a walk.
func (c *chooser) pass(f *File) error {
	if c.include == nil && c.exclude == nil {
		return c.fn(f)
	}
	name := c.rel(f)
	for len(c.above) > 0 && !strings.HasPrefix(name, c.above[len(c.above)-1].name+"/") {
		c.above = c.above[:len(c.above)-1]
	}
	var parent verdict
	if len(c.above) > 0 {
		parent = c.above[len(c.above)-1].verdict
	}
	keep, v, err := c.judge(name, parent)
	if err != nil {
		return err
	}
	if f.Type == tar.TypeDir {
		c.above = append(c.above, judgedDir{name, v, f})
	}
	if !keep {
		return nil
	}
	for i := range c.above {
		if err := c.handOn(&c.above[i]); err != nil {
			return err
		}
	}
	if f.Type == tar.TypeDir {
		return nil
	}
	return c.fn(f)
}

func (c *chooser) handOn(d *judgedDir) error {
	f := d.held
	d.held = nil
	if f == nil {
		return nil
	}
	return c.fn(f)
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
