package build

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

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
			matches, err := files.Glob(source)
			if err != nil {
				return
			}
			for _, m := range matches {
				files.ahead.digest(ctx, files, m.Path)
			}
		}
	})
}

// contextSources are the patterns of all that an instruction takes from the
// context; none where it takes less than what they name.
func contextSources(in dockerfile.Instruction) []string {
	switch c := in.Cmd.(type) {
	case *instructions.CopyCommand:
		if c.From == "" && len(c.ExcludePatterns) == 0 {
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
	done map[string]func() // by path: ends it
}

// digest reads all files at a path, until somebody asks for them.
func (d *digesting) digest(ctx context.Context, files *contextFiles, path string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	d.mu.Lock()
	_, begun := d.done[path]
	if !begun {
		d.done[path] = func() { cancel(); <-ended }
	}
	d.mu.Unlock()
	if begun {
		return
	}
	batch := make([]*stage.File, 0, digestedAtOnce)
	err := files.walk(ctx, path, func(f *stage.File) error {
		if batch = append(batch, f); len(batch) < cap(batch) {
			return nil
		}
		_, err := files.Digests(ctx, batch)
		batch = batch[:0]
		return err
	})
	if err == nil {
		_, _ = files.Digests(ctx, batch)
	}
}

// digestedAtOnce is how many files are digested before others are looked at.
const digestedAtOnce = 1024

// end makes way for the one who asks for the files: what has been read by then
// is known to him.
func (d *digesting) end(path string) {
	d.mu.Lock()
	end, begun := d.done[path]
	if !begun {
		d.done[path] = func() {}
	}
	d.mu.Unlock()
	if begun {
		end()
	}
}
