package build

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// Linted has the warnings of the linter, at a build's end. It isn't sent where
// there are none.
type Linted struct {
	// File is the Dockerfile as errors call it, Path where it lies, "" for the
	// standard input.
	File, Path string
	Warnings   []dockerfile.Warning
}

// Checked is what Check found.
type Checked struct {
	Linted
	Source []byte // the Dockerfile's text
	// Unknown are the base images that aren't in the store. Variables in the
	// stages upon them were not looked at.
	Unknown []string
}

// Check reads the Dockerfile as Build does and gives the linter's warnings of
// all stages, or of those that o.Target needs. It builds and pulls nothing, and
// fetches no more than the build context. An error in the Dockerfile comes with
// the warnings up to there.
func Check(ctx context.Context, o Options, store *storage.Store) (Checked, error) {
	var result Checked
	found, err := locate(ctx, o, func(ctx context.Context, ref string, how fetchHow) (*buildcontext.Fetched, error) {
		session, err := store.Session()
		if err != nil {
			return nil, err
		}
		dir, err := session.TempDir()
		if err != nil {
			return nil, err
		}
		return how(fetcher(o, dir, nil), ctx, ref)
	})
	if err != nil {
		return result, err
	}
	file, err := found.parse(o, contextNames(o))
	if err != nil {
		return result, err
	}
	result.File, result.Path, result.Source = file.Name, found.dockerfile, file.Source()
	if found.fetched {
		result.Path = "" // it will be gone
	}
	bases := baseFacts{images: store.Layout(), env: o.Env}
	lint := dockerfile.LintOptions{Base: bases.find, Ignored: func(string) bool { return false }}
	if found.dir != "" {
		dir, err := buildcontext.OpenDir(found.dir, buildcontext.Options{Dockerfile: found.dockerfile, IgnoreFile: found.ignoreFile})
		if err != nil {
			return result, err
		}
		defer dir.Close()
		lint.Ignored = func(path string) bool { return excluded(dir, path) }
	}
	if o.Target != "" {
		lint.Stages, err = file.Needed(o.Target)
	}
	if err == nil {
		result.Warnings, err = file.Lint(lint)
	}
	result.Unknown = bases.unknown
	return result, err
}

// contextNames are the named contexts, none of which is looked at.
func contextNames(o Options) map[string]string {
	names := map[string]string{}
	for name := range o.Contexts {
		names[dockerfile.ContextName(name)] = ""
	}
	return names
}

// baseFacts looks base images up in the store.
type baseFacts struct {
	images  *layout.Layout
	env     []string // what the command line adds
	unknown []string
}

func (b *baseFacts) find(s *dockerfile.Stage) (dockerfile.Base, bool) {
	img, err := baseOf(s).present(b.images)
	var config *layout.ImageConfig
	if err == nil {
		config, err = b.images.Config(img)
	}
	if err != nil {
		if !slices.Contains(b.unknown, s.Base) {
			b.unknown = append(b.unknown, s.Base)
		}
		return dockerfile.Base{}, false
	}
	c := config.Config
	return dockerfile.Base{
		Env: slices.Concat(c.Env, b.env), Shell: c.Shell, Triggers: c.OnBuild,
		Platform: config.Platform(),
	}, true
}

// lint gives the warnings of the needed stages.
func (b *build) lint() Linted {
	bases := baseFacts{images: b.env.Store.Layout(), env: b.o.Env}
	warnings, _ := b.file.Lint(dockerfile.LintOptions{ // what can't be expanded, the build itself says
		Stages: b.order, Base: bases.find,
		Ignored: func(path string) bool {
			files, err := b.files.open()
			return err == nil && excluded(files.dir, path)
		},
	})
	return Linted{File: b.file.Name, Path: b.context.dockerfile, Warnings: warnings}
}

func excluded(dir *buildcontext.Dir, path string) bool {
	is, _ := dir.Excluded(path)
	return is
}

// warn reports what the linter says.
func (b *build) warn() {
	if b.file.FailsOnWarnings() {
		return // it was asked before, and had nothing to say
	}
	if l := b.lint(); len(l.Warnings) > 0 {
		b.r.Report(l)
	}
}

// refuseWarnings ends a build that is to have no warnings, before anything is
// executed. Base images have to be there for it.
func (b *build) refuseWarnings(ctx context.Context) error {
	if !b.file.FailsOnWarnings() {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range b.order {
		if s.BaseStage < 0 && s.Base != dockerfile.Scratch {
			g.Go(func() error {
				_, err := b.base(gctx, baseOf(s))
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	l := b.lint()
	if len(l.Warnings) == 0 {
		return nil
	}
	b.r.Report(l)
	return b.file.Violation(l.Warnings)
}
