package build

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/stage"
)

// ahead begins what the instructions of the stages will ask of others, while
// they still wait for what stands before them: images are brought, addresses
// asked about, files of the context digested. What fails here fails once more,
// and is reported, at its instruction.
func (b *build) ahead(ctx context.Context, stages []*dockerfile.Stage, open *unknown) {
	for _, s := range stages {
		first, isOpen := open.at(s.Index)
		if !isOpen {
			continue
		}
		digests := open.waits(s, first) && !b.o.NoCache
		for _, in := range s.Instructions[min(max(first, 0), len(s.Instructions)):] {
			b.bring(ctx, in)
			if digests {
				b.digestAhead(ctx, in)
			}
		}
	}
}

// bring begins to bring what an instruction takes from elsewhere.
func (b *build) bring(ctx context.Context, in dockerfile.Instruction) {
	var images []string
	if in.FromImage != "" {
		images = append(images, in.FromImage)
	}
	for name, index := range in.MountStages {
		if index < 0 {
			images = append(images, name)
		}
	}
	for _, name := range images {
		if source, isImage := b.sourceNamed(name).(imageSource); isImage && !strings.Contains(name, "$") {
			b.work.Go(func() { _, _ = source.Known(ctx) })
		}
	}
	add, isAdd := in.Cmd.(*instructions.AddCommand)
	if !isAdd || slices.ContainsFunc(append(add.SourcePaths, add.Checksum), hasVariable) {
		return
	}
	remotes, err := b.remotes.of(add)
	if err != nil {
		return
	}
	for _, r := range remotes {
		b.work.Go(func() { _, _ = r.Identity(ctx) })
	}
}

// digestAhead begins to digest what an instruction takes from the context.
func (b *build) digestAhead(ctx context.Context, in dockerfile.Instruction) {
	sources := contextSources(in)
	if len(sources) == 0 || slices.ContainsFunc(sources, hasVariable) {
		return
	}
	b.work.Go(func() {
		files, err := b.files.open()
		if err != nil {
			return
		}
		for _, source := range sources {
			files.ahead.digest(ctx, files, source)
		}
	})
}

// contextSources are the patterns of all that an instruction takes from the
// context; none where it takes less than what they name.
func contextSources(in dockerfile.Instruction) []string {
	switch c := in.Cmd.(type) {
	case *instructions.CopyCommand:
		if c.From == "" && !c.Parents && len(c.ExcludePatterns) == 0 {
			return c.SourcePaths
		}
	case *instructions.AddCommand:
		if len(c.ExcludePatterns) == 0 {
			return c.SourcePaths
		}
	case *instructions.RunCommand:
		var sources []string
		for _, m := range instructions.GetMounts(c) {
			if m.Type == instructions.MountTypeBind && m.From == "" {
				sources = append(sources, "/"+inSource(m.Source))
			}
		}
		return sources
	}
	return nil
}

func hasVariable(word string) bool { return strings.Contains(word, "$") }

// unknown has, of the stages that aren't known from end to end, the first
// instruction whose result isn't; -1 is FROM.
type unknown struct {
	mu    sync.Mutex
	first map[int]int
}

func (u *unknown) note(stage, instruction int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, noted := u.first[stage]; !noted {
		u.first[stage] = instruction
	}
}

func (u *unknown) at(stage int) (instruction int, open bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	instruction, open = u.first[stage]
	return instruction, open
}

// waits says whether what comes after the first unknown instruction may be
// known all the same: that one only waits for another stage, which may come to
// what it came to before. Whatever stands on a step that was executed is a miss
// without asking, and digested while it is packed.
func (u *unknown) waits(s *dockerfile.Stage, first int) bool {
	if first < 0 || first >= len(s.Instructions) {
		return false
	}
	return slices.ContainsFunc(s.Instructions[first].Reads(), func(i int) bool {
		_, open := u.at(i)
		return open
	})
}

// digesting are the digests of a context's files that are being made before an
// instruction asks for them.
type digesting struct {
	mu   sync.Mutex
	done map[string]func() // by pattern or path: ends it
}

// digest reads all files that a pattern names, until somebody asks for them.
func (d *digesting) digest(ctx context.Context, files *contextFiles, pattern string) {
	d.do(ctx, ofPattern(pattern), func(ctx context.Context) error {
		batch := digestBatch{ctx: ctx, files: files}
		if strings.ContainsAny(pattern, "*?[\\") {
			err := files.walkGlob(ctx, stage.Pattern{Glob: pattern}, func(_ stage.Match, f *stage.File) error { return batch.add(f) })
			return errors.Join(err, batch.end())
		}
		return files.dir.Glob(pattern, func(m buildcontext.Match) error {
			d.do(ctx, m.Path, func(ctx context.Context) error {
				batch.ctx = ctx
				return errors.Join(files.walk(ctx, m.Path, batch.add), batch.end())
			})
			return nil
		})
	})
}

// ofPattern is what work is called that isn't that of a path.
func ofPattern(pattern string) string { return "\x00" + path.Clean("/"+pattern) }

// do has work be done that end can end.
func (d *digesting) do(ctx context.Context, key string, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	d.mu.Lock()
	_, begun := d.done[key]
	if !begun {
		d.done[key] = func() { cancel(); <-ended }
	}
	d.mu.Unlock()
	if !begun {
		_ = work(ctx) // what fails is tried again by who needs it
	}
}

// end makes way for the one who asks for the files: what has been read by then
// is known to him.
func (d *digesting) end(key string) {
	d.mu.Lock()
	end, begun := d.done[key]
	if !begun {
		d.done[key] = func() {}
	}
	d.mu.Unlock()
	if begun {
		end()
	}
}

// digestedAtOnce is how many files are digested before others are looked at.
const digestedAtOnce = 1024

// digestBatch are files that are to be digested at once.
type digestBatch struct {
	ctx   context.Context // lives as long as the batch
	files *contextFiles
	batch []*stage.File
}

func (b *digestBatch) add(f *stage.File) error {
	if b.batch = append(b.batch, f); len(b.batch) < digestedAtOnce {
		return nil
	}
	return b.end()
}

func (b *digestBatch) end() error {
	_, err := b.files.Digests(b.ctx, b.batch)
	b.batch = b.batch[:0]
	return err
}
