package stage

import (
	"archive/tar"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// shown is what a mount shows of a source, and how that enters the key of its
// RUN: by the digest of the files. Of a stage or an image that digest is looked
// up first by what is known without building it, as for COPY --from.
type shown struct {
	mount Mount
	from  Source
	path  string // as the instruction has it
	temp  string // a directory for what takes more room

	source   *State // nil for a directory, such as the build context
	alias    digest.Digest
	content  digest.Digest // "" where it isn't known
	outcomes outcomes

	// What load gives.
	files Files
	match Match
	sel   *selection
	fresh bool // the alias is yet to be written
}

// shows gives what each mount shows, nil for those that show no files.
func (in Run) shows(temp string) []*shown {
	shows := make([]*shown, len(in.Mounts))
	for i, m := range in.Mounts {
		if from, path := m.reads(); from != nil {
			shows[i] = &shown{mount: m, from: from, path: path, temp: temp}
		}
	}
	return shows
}

// lookUp finds out the content as far as that needs no building. A directory's
// files are read.
func (s *shown) lookUp(ctx context.Context, r *Runner) error {
	var err error
	if s.source, err = s.from.Known(ctx); err != nil {
		return err
	}
	if s.source == nil {
		return s.load(ctx)
	}
	if s.wholeImage() {
		s.content, s.outcomes = wholeContent(s.source), s.source.outcomes
		return nil
	}
	s.alias = keyOf("mount from", s.definition())
	s.content, s.outcomes = r.aliased(s.alias, s.source)
	return nil
}

// definition says what is shown as far as it is known without building.
func (s *shown) definition() []cache.Input {
	if s.source == nil {
		return []cache.Input{{Name: "mounted", Value: s.content.String()}}
	}
	return []cache.Input{
		{Name: "mount source", Value: s.source.Definition.String()},
		{Name: "mount path", Value: s.path},
	}
}

// wholeImage says whether the mount shows a base image as it is, whose layers'
// digests tell the content: there is no need to read its files.
func (s *shown) wholeImage() bool {
	return strings.Trim(s.path, "/") == "" && len(s.source.Layers) > 0 &&
		!slices.ContainsFunc(s.source.Layers, func(l Layer) bool { return !l.FromImage() })
}

func wholeContent(image *State) digest.Digest {
	var inputs []cache.Input
	for _, l := range image.Layers {
		inputs = append(inputs, cache.Input{Name: "layer", Value: l.DiffID.String()})
	}
	return keyOf("mounted image", inputs)
}

// load lists and digests the files, building their source where that is needed.
func (s *shown) load(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	if s.source != nil {
		// It has been built now.
		var err error
		if s.source, err = s.from.Known(ctx); err != nil {
			return err
		}
		s.outcomes = s.source.outcomes
		if s.wholeImage() {
			return nil
		}
	}
	s.sel = &selection{loaded: true, temp: s.temp, names: linkNames{temp: s.temp}}
	it := item{source: source{base: s.match.Path}, files: s.files, from: s.match.Path, within: true}
	if err := s.sel.list(ctx, &it); err != nil {
		return err
	}
	s.sel.items = []item{it}
	below, err := s.sel.digest(ctx)
	if err != nil {
		return err
	}
	s.content = keyOf("mounted files", []cache.Input{
		{Name: "top", Value: describe(&it.top.Entry)}, {Name: "below", Value: below.String()},
	})
	s.fresh = s.alias != ""
	return nil
}

// open finds the path in the source. It does nothing when called again.
func (s *shown) open(ctx context.Context) error {
	if s.files != nil {
		return nil
	}
	files, err := s.from.Files(ctx)
	if err != nil {
		return err
	}
	found, err := globAll(files, literal(s.path))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("no file is called %q in what the mount reads", s.path)
	}
	s.files, s.match = files, found[0]
	return nil
}

// literal gives the pattern that matches a path alone: what would be a wildcard
// becomes a class of one character, which COPY's sources all understand.
func literal(path string) string {
	if path == "" {
		return "/"
	}
	return wildcard.ReplaceAllStringFunc(path, func(c string) string {
		if c == `\` {
			return `[\\]`
		}
		return "[" + c + "]"
	})
}

// wildcard is a character that stands for others in a pattern. A closing
// bracket alone stands for itself.
var wildcard = regexp.MustCompile(`[*?[\\]`)

// isDir says whether a directory is shown. It needs load.
func (s *shown) isDir() bool { return s.sel == nil || s.sel.items[0].top.Type == tar.TypeDir }

// details gives the files for the step's record.
func (s *shown) details(yield func(cache.Input) bool) bool {
	if s == nil || s.sel == nil {
		return true
	}
	target := s.mount.target()
	for in := range s.sel.inputs {
		name := strings.TrimPrefix(in.Name, "file:")
		if !yield(cache.Input{Name: mountedInput + target + ":" + name, Value: in.Value}) {
			return false
		}
	}
	return true
}

// definitions are what the mounts show, as far as it is known without building.
func definitions(shows []*shown) []cache.Input {
	var inputs []cache.Input
	for _, s := range shows {
		if s != nil {
			inputs = append(inputs, s.definition()...)
		}
	}
	return inputs
}

// asKnown takes the state over the command where that needs no source to be
// built: its result is known, or only its definition is asked for. Where no
// mount shows a stage or an image there is nothing to build, and the ordinary
// way is as good.
func (in Run) asKnown(r *Runner, st *State, at Step, shows []*shown) (bool, error) {
	complete, builds := true, false
	for _, s := range shows {
		if s != nil && s.source != nil {
			builds = true
			complete = complete && s.content != ""
		}
	}
	switch {
	case !builds:
		return false, nil
	case r.defineOnly:
		st.lost = st.lost || !complete
		addSources(st, shows)
		r.follow(st, in.job(r, st, at, shows))
		return true, nil
	case complete && r.adoptKnown(st, at, in.job(r, st, at, shows)):
		addSources(st, shows)
		return true, nil
	case r.Snapshots == nil:
		return false, ErrNamespace
	}
	return false, nil
}

// addSources notes the results of the steps that made what the mounts show.
func addSources(st *State, shows []*shown) {
	for _, s := range shows {
		switch {
		case s == nil || s.source == nil:
		case s.outcomes != nil:
			st.addOutcomes(s.outcomes)
		default:
			st.addOutcomes(s.source.outcomes)
		}
	}
}

// noteSources keeps for the next build what the mounts showed.
func (in Run) noteSources(r *Runner, st *State, shows []*shown) error {
	addSources(st, shows)
	for _, s := range shows {
		if s == nil || !s.fresh {
			continue
		}
		if err := r.putAlias(s.alias, in.Instruction, s.content, s.source); err != nil {
			return err
		}
	}
	return nil
}

// seen names the command over its parent, whatever its mounts show.
func (in Run) seen(r *Runner, st *State) digest.Digest {
	return keyOf("seen", append([]cache.Input{{Name: "parent", Value: st.Key.String()}}, in.inputs(r, st)...))
}

// surelyNew says, where nothing can be executed, that the command was never
// executed over this parent: then there is no need to read what its mounts show.
func (in Run) surelyNew(r *Runner, st *State, shows []*shown) bool {
	return r.Snapshots == nil && !r.defineOnly && showAny(shows) && (r.NoCache || !r.Cache.Seen(in.seen(r, st)))
}

func (in Run) markSeen(r *Runner, st *State, shows []*shown) error {
	if r.defineOnly || r.Snapshots == nil || !showAny(shows) {
		return nil
	}
	return r.Cache.MarkSeen(in.seen(r, st))
}

func showAny(shows []*shown) bool {
	return slices.ContainsFunc(shows, func(s *shown) bool { return s != nil })
}
