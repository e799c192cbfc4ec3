package context

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"
)

// ignoreNames are the ignore files of a context, the first that exists counts.
var ignoreNames = []string{".dockerignore", ".containerignore"}

// ignoreRules are the patterns of an ignore file.
type ignoreRules struct {
	file     string   // as errors show it
	patterns []string // cleaned, with their leading "!"
	lines    []int    // where each pattern stands, from one
}

// readIgnoreFile finds and reads the context's ignore file; nil where none is
// or where it says nothing.
func (d *Dir) readIgnoreFile(named, dockerfile string) (*ignoreRules, error) {
	if named != "" {
		text, err := os.ReadFile(named) // named by the caller, not by the context
		if err != nil {
			return nil, fault.New("", "the ignore file can't be read: %w", err)
		}
		return parseIgnore(named, string(text))
	}
	if dockerfile != "" {
		name := dockerfile + ".dockerignore"
		text, err := d.readBeside(name)
		if err == nil {
			return parseIgnore(filepath.Base(name), text)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New("", "%w", err)
		}
	}
	for _, name := range ignoreNames {
		text, err := d.readInside(name)
		if err == nil {
			return parseIgnore(name, text)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New("", "the build context's %s: %w", name, err)
		}
	}
	return nil, nil
}

// readBeside reads a file that the caller named. One that lies in the context
// isn't followed out of it.
func (d *Dir) readBeside(path string) (string, error) {
	inside, err := insideOf(d.root, path)
	if err != nil {
		return "", err
	}
	if inside != "" {
		return d.readInside(inside)
	}
	text, err := os.ReadFile(path) // named by the caller, not by the context
	return string(text), err
}

// readInside reads a plain file of the context; links are followed inside it.
func (d *Dir) readInside(rel string) (string, error) {
	rel, err := d.resolve(rel)
	if err != nil {
		return "", err
	}
	e, err := d.Lstat(rel)
	if err != nil {
		return "", err
	}
	if !e.IsRegular() || e.IsSocket() {
		return "", fault.New("", "it is no plain file")
	}
	f, err := d.Open(e)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return string(text), errors.Join(err, f.Close())
}

// parseIgnore reads an ignore file line by line, to know where each pattern
// stands.
func parseIgnore(file, text string) (*ignoreRules, error) {
	r := &ignoreRules{file: file}
	n := 0
	for line := range strings.Lines(text) {
		if n++; n > 1 {
			// Only the file may begin with a byte order mark.
			line = strings.TrimLeft(line, "\ufeff")
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(line))
		if err == nil {
			err = checkPatterns(patterns)
		}
		if err != nil {
			e := fault.New("see docker's documentation of .dockerignore for what patterns may hold", "%w", err)
			e.Place = fmt.Sprintf("%s:%d: %s", file, n, strings.TrimSpace(line))
			return nil, e
		}
		for _, p := range patterns {
			r.patterns = append(r.patterns, p)
			r.lines = append(r.lines, n)
		}
	}
	if len(r.patterns) == 0 {
		return nil, nil
	}
	return r, nil
}

// checkPatterns looks whether each pattern has a meaning. The matcher finds some
// faults only when it first compares the pattern with a path, and an exception
// only with one that is left out.
func checkPatterns(patterns []string) error {
	for _, p := range patterns {
		if !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
			// The matcher would complain to the terminal and match nothing.
			return errors.New("it is no UTF-8 text")
		}
		m, err := patternmatcher.New([]string{"**", p})
		if err == nil && !strings.HasPrefix(p, "!") {
			m, err = patternmatcher.New([]string{p})
		}
		if err == nil {
			_, err = m.MatchesOrParentMatches("path")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decide says whether a path is left out, and which line says so.
func (r *ignoreRules) decide(rel string) (bool, string) {
	excluded, by := false, 0
	for i, p := range r.patterns {
		p, exception := strings.CutPrefix(p, "!")
		if exception != excluded {
			continue
		}
		m, err := patternmatcher.New([]string{p})
		if err != nil {
			continue
		}
		if match, err := m.MatchesOrParentMatches(rel); err == nil && match {
			excluded, by = !exception, i
		}
	}
	if !excluded {
		return false, ""
	}
	return true, fmt.Sprintf("%s:%d: %s", r.file, r.lines[by], r.patterns[by])
}

// filter leaves out what the rules say, and builder's own. It is used by one
// goroutine only, because the pattern matcher compiles its patterns when they are
// first used.
type filter struct {
	patterns []string
	own      ownDirs
	matcher  *patternmatcher.PatternMatcher
}

// verdict is what the rules say of one path, and what its children's verdicts
// are made from.
type verdict struct {
	excluded bool
	info     patternmatcher.MatchInfo
}

// filter is nil where nothing is left out.
func (d *Dir) filter() (*filter, error) {
	if d.ignore == nil && len(d.own) == 0 {
		return nil, nil
	}
	f := &filter{own: d.own}
	if d.ignore != nil {
		f.patterns = d.ignore.patterns
	}
	var err error
	f.matcher, err = patternmatcher.New(f.patterns)
	return f, err
}

// match judges a path by its parent's verdict. A nil filter leaves nothing out.
func (f *filter) match(rel string, parent verdict) (verdict, error) {
	if f == nil || rel == "" {
		return verdict{}, nil
	}
	if f.own.holding(rel) != "" {
		return verdict{excluded: true}, nil
	}
	excluded, info, err := f.matcher.MatchesUsingParentResults(rel, parent.info)
	return verdict{excluded: excluded, info: info}, err
}

// judge gives a path's verdict from the root on.
func (f *filter) judge(rel string) (verdict, error) {
	if f == nil || rel == "" {
		return verdict{}, nil
	}
	var v verdict
	for end := 0; end < len(rel); {
		if next := strings.IndexByte(rel[end:], '/'); next >= 0 {
			end += next
		} else {
			end = len(rel)
		}
		var err error
		if v, err = f.match(rel[:end], v); err != nil {
			return v, err
		}
		end++
	}
	return v, nil
}

// mayHoldException says whether an exception could bring back something below
// an excluded directory; where none can, it needn't be read.
func (f *filter) mayHoldException(dir string) bool {
	if !f.matcher.Exclusions() || f.own.holding(dir) != "" {
		return false
	}
	for _, p := range f.patterns {
		if exception, ok := strings.CutPrefix(p, "!"); ok && reachesBelow(path.Clean(exception), dir) {
			return true
		}
	}
	return false
}

// reachesBelow says whether a pattern could match anything below dir. Where it
// matches dir itself, dir's own verdict holds for what is below.
func reachesBelow(pattern, dir string) bool {
	for {
		want, deeper, more := strings.Cut(pattern, "/")
		if strings.Contains(want, "**") {
			return true
		}
		name, rest, below := strings.Cut(dir, "/")
		if match, err := path.Match(want, name); err == nil && !match {
			return false
		}
		if !more {
			return false
		}
		if !below {
			return true
		}
		pattern, dir = deeper, rest
	}
}

// isMissing says whether nothing is at a path, or a parent is no directory.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
