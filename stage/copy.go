package stage

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Copy is COPY and ADD: entries of a source become a layer. No command runs
// and nothing is mounted.
type Copy struct {
	// Verb is "COPY" or "ADD", for errors.
	Verb string
	// From is where the files come from, Sources the patterns that name them.
	From    Source
	Sources []string
	// Remote has, by their text in Sources, those that are elsewhere (ADD).
	Remote map[string]Remote
	// Contents are here-documents: files that the instruction itself holds.
	Contents []Content
	// Dest is the destination as given.
	Dest string
	// Chown is USER[:GROUP] or "", Chmod an octal or symbolic mode or "".
	Chown, Chmod string
	// Exclude are patterns, as in .dockerignore, of what stays out.
	Exclude []string
	// Parents says that the directories which lead to a source come along.
	Parents bool
	// Extract says that local tar archives are unpacked, ExtractRemote that
	// fetched ones are (ADD).
	Extract, ExtractRemote bool
	// Link makes a layer that doesn't depend on what lies below it.
	Link bool
	// Last says that no later step of the build needs the tree, so that the
	// entries may go straight into the blob.
	Last bool
	// Instruction is the text in the Dockerfile, CreatedBy its line in the
	// history.
	Instruction, CreatedBy string
}

// Content is a file that stands in the Dockerfile itself.
type Content struct{ Name, Data string }

func (in Copy) apply(ctx context.Context, r *Runner, st *State, at Step) error {
	if in.Link {
		var err error
		if in.Chown, err = linkOwner(in.Chown); err != nil {
			return err
		}
	}
	source, err := in.From.Known(ctx)
	if err != nil {
		return err
	}
	if source != nil {
		return in.fromTree(ctx, r, st, at, source)
	}
	return in.fromContext(ctx, r, st, at)
}

// fromContext copies from the build context. Where this instruction has never
// been executed on this parent a miss is certain, and contents are read only
// once, while they are packed.
func (in Copy) fromContext(ctx context.Context, r *Runner, st *State, at Step) error {
	sel := r.selection(in, at)
	defer sel.close()
	selectors := in.selectors(st)
	parent := in.parent(st)
	seen := keyOf("seen", append([]cache.Input{parent}, selectors...))
	known := r.Cache.Seen(seen) && !r.NoCache
	if !known && r.Snapshots == nil && !r.defineOnly {
		return ErrNamespace
	}
	if err := sel.load(ctx, in.From); err != nil {
		return err
	}
	if !r.defineOnly {
		in.warnOutside(r, at)
	}
	if !known && !r.defineOnly {
		if err := r.Cache.MarkSeen(seen); err != nil {
			return err
		}
		if in.Last && !in.Link && len(in.Remote) == 0 {
			needsTree, err := sel.needsTree(ctx)
			if err != nil {
				return err
			}
			if !needsTree {
				return in.inOneRead(ctx, r, st, at, sel, selectors, parent)
			}
		}
	}
	content, err := sel.digest(ctx)
	if err != nil {
		return err
	}
	st.define("copy", append(selectors, cache.Input{Name: "content", Value: content.String()}))
	return in.solve(ctx, r, st, at, sel, content)
}

// warnOutside says of a source that climbs out of the context that it doesn't:
// it is there, or it would have been an error.
func (in Copy) warnOutside(r *Runner, at Step) {
	for _, s := range in.Sources {
		if clean := path.Clean(s); strings.HasPrefix(clean, "../") && in.Remote[s] == nil {
			inside := strings.TrimPrefix(path.Clean("/"+clean), "/")
			r.Report(Warning{Step: at, Text: fmt.Sprintf("%s leads outside the build context; %s is taken, from the context's root", s, inside)})
		}
	}
}

// parent is the input that says what the instruction stands on; nothing for
// --link.
func (in Copy) parent(st *State) cache.Input {
	if in.Link {
		return cache.Input{Name: "parent"}
	}
	return cache.Input{Name: "parent", Value: st.Key.String()}
}

// solve takes the state over the instruction once its content is known.
func (in Copy) solve(ctx context.Context, r *Runner, st *State, at Step, sel *selection, content digest.Digest) error {
	if in.Link {
		return in.link(ctx, r, st, at, sel, content)
	}
	return r.solve(ctx, st, at, in.job(r, st, sel, in.parent(st), content))
}

// selectors are the inputs that the instruction itself holds, and the directory
// that a relative destination counts from.
func (in Copy) selectors(st *State) []cache.Input {
	inputs := []cache.Input{
		{Name: "dest", Value: destination(st, in.Dest)},
		{Name: "chown", Value: in.Chown},
		{Name: "chmod", Value: in.Chmod},
		{Name: "extract", Value: strconv.FormatBool(in.Extract)},
	}
	if in.ExtractRemote {
		inputs = append(inputs, cache.Input{Name: "extract remote", Value: "true"})
	}
	for _, s := range in.Sources {
		inputs = append(inputs, cache.Input{Name: "source", Value: s})
	}
	for _, pattern := range in.Exclude {
		inputs = append(inputs, cache.Input{Name: "exclude", Value: pattern})
	}
	if in.Parents {
		inputs = append(inputs, cache.Input{Name: "parents", Value: "true"})
	}
	if in.Link {
		inputs = append(inputs, cache.Input{Name: "link", Value: "true"})
	}
	for _, c := range in.Contents {
		inputs = append(inputs, cache.Input{Name: "heredoc:" + c.Name, Value: digest.FromString(c.Data).String()})
	}
	return inputs
}

// job is the execution of the instruction. Its key holds what lands where,
// which the selectors only name: the sources' own paths are not part of it.
func (in Copy) job(r *Runner, st *State, sel *selection, parent cache.Input, content digest.Digest) *job {
	j := &job{
		kind: strings.ToLower(in.Verb),
		inputs: []cache.Input{
			parent,
			{Name: "dest", Value: destination(st, in.Dest)},
			{Name: "chown", Value: in.Chown},
			{Name: "extract", Value: strconv.FormatBool(in.Extract)},
			{Name: "owners", Value: strconv.FormatBool(r.ExactOwners)},
			{Name: "content", Value: content.String()},
		},
		instruction: in.Instruction,
		createdBy:   in.CreatedBy,
		written:     true,
	}
	if in.ExtractRemote {
		j.inputs = append(j.inputs, cache.Input{Name: "extract remote", Value: "true"})
	}
	if in.Chmod != "" {
		// A mode that can't be read fails when the selection is loaded.
		if mode, err := parseMode(in.Chmod); err == nil && mode.ofDirs() != dirMode {
			j.inputs = append(j.inputs, cache.Input{Name: "directories", Value: fmt.Sprintf("%04o", mode.ofDirs())})
		}
	}
	j.details = sel.inputs
	j.execute = func(ctx context.Context, result snapshot.Key) error {
		return in.execute(ctx, r, st, sel, result)
	}
	return j
}

// destination makes the destination absolute. A slash at its end is kept: it
// says that the destination is a directory.
func destination(st *State, dest string) string {
	dir := asksForDir(dest)
	if !path.IsAbs(dest) {
		dest = path.Join(workdir(st), dest)
	}
	dest = path.Clean(dest)
	if dir && dest != "/" {
		dest += "/"
	}
	return dest
}

// asksForDir says whether a destination is a directory by its form.
func asksForDir(dest string) bool {
	return strings.HasSuffix(dest, "/") || dest == "." || strings.HasSuffix(dest, "/.")
}

// execute puts the entries where they land: straight into a blob where nothing
// needs the tree, else into a new snapshot's upper directory.
func (in Copy) execute(ctx context.Context, r *Runner, st *State, sel *selection, result snapshot.Key) error {
	parent, err := r.Snapshots.Tree(st.Tree)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := sel.fetch(ctx); err != nil {
		return err
	}
	needsTree, err := sel.needsTree(ctx)
	if err != nil {
		return err
	}
	meter := sel.meter(r)
	if in.Last && !needsTree {
		return in.pack(ctx, r, st, sel, parent, result, meter.watch)
	}
	size, err := sel.bytes(ctx)
	if err != nil {
		return err
	}
	if err := r.Snapshots.HasRoomFor(size); err != nil {
		return err
	}
	active, err := r.Snapshots.Prepare(ctx, st.Tree)
	if err != nil {
		return err
	}
	defer func() { _ = active.Discard() }()
	w := active.Writer()
	p, err := newPlacement(in, parent, destination(st, in.Dest), w.Write)
	if err != nil {
		return err
	}
	p.watch = meter.watch
	if sel.hasArchives() {
		p.standing = w.Standing
	}
	if err := p.place(ctx, sel); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return active.Commit(result)
}

// pack puts the entries straight into a blob. watch is told of each that it may
// read.
func (in Copy) pack(ctx context.Context, r *Runner, st *State, sel *selection, parent *layer.Tree, result snapshot.Key, watch func(*File, *layer.Entry)) error {
	placed := placedEntries{in: in, st: st, sel: sel, parent: parent, watch: watch}
	return r.Pack(ctx, result, true, layer.Differing(placed, parent))
}

// placedEntries are what a COPY puts where it belongs.
type placedEntries struct {
	in     Copy
	st     *State
	sel    *selection
	parent *layer.Tree
	watch  func(*File, *layer.Entry)
}

// Walk places the entries.
func (p placedEntries) Walk(ctx context.Context, fn func(*layer.Entry) error) error {
	to, err := newPlacement(p.in, p.parent, destination(p.st, p.in.Dest), fn)
	if err != nil {
		return err
	}
	to.watch = p.watch
	return to.place(ctx, p.sel)
}

// errManyToOne is docker's rule for several sources.
func errManyToOne(verb, dest string) error {
	return fault.New(fmt.Sprintf("write %s/ as the destination", dest),
		"%s of more than one source: the destination %q must be a directory and end with /", verb, dest)
}
