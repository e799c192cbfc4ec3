package build

import (
	"context"
	"os"
	"strconv"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
)

// keepGitDirArg is BuildKit's build argument that keeps .git in a context that
// is fetched from a repository.
const keepGitDirArg = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"

// read finds the build context, and in it the Dockerfile, and parses that. A
// context that has to be fetched is ErrNamespace outside of one: what would be
// fetched there would be fetched once more inside.
func (b *build) read(ctx context.Context) error {
	src, name, err := b.locate(ctx)
	if err != nil {
		return err
	}
	contexts, err := b.nameContexts()
	if err != nil {
		return err
	}
	b.file, err = dockerfile.Parse(name, src, dockerfile.Options{BuildArgs: b.o.BuildArgs, Target: b.o.Target, Contexts: contexts})
	return err
}

// locate gives the Dockerfile's text and its name in messages.
func (b *build) locate(ctx context.Context) (src []byte, name string, err error) {
	b.context = localContext(b.o.ContextDir)
	if buildcontext.IsRemote(b.o.ContextDir) {
		fetched, err := b.fetch(ctx, b.o.ContextDir, buildcontext.Fetcher.Fetch)
		if err != nil {
			return nil, "", err
		}
		b.context = fetchedContext(fetched.Dir)
		if fetched.Dockerfile != nil && b.o.Source == nil {
			if b.o.Dockerfile != "" {
				return nil, "", fault.New("leave --file out", "the build context %s is itself the Dockerfile, and --file names another",
					buildcontext.Redacted(b.o.ContextDir))
			}
			return fetched.Dockerfile, "Dockerfile", nil
		}
	}
	switch {
	case b.o.Source != nil:
		return b.o.Source, b.o.Dockerfile, nil
	case b.context.fetched:
		b.context.dockerfile, src, name, err = buildcontext.FindFetched(b.context.dir, b.o.Dockerfile)
	default:
		b.context.dockerfile, src, name, err = buildcontext.FindDockerfile(b.o.ContextDir, b.o.Dockerfile)
	}
	return src, name, err
}

// fetch brings a context into the session's private directory, which ends with
// it.
func (b *build) fetch(ctx context.Context, ref string,
	how func(buildcontext.Fetcher, context.Context, string) (*buildcontext.Fetched, error),
) (*buildcontext.Fetched, error) {
	if b.env.Snapshots == nil {
		return nil, ErrNamespace
	}
	dir, err := b.tempDir()
	if err != nil {
		return nil, err
	}
	if ref != buildcontext.Stdin {
		b.r.Report(Fetching{Ref: buildcontext.Redacted(ref)})
	}
	keep, _ := strconv.ParseBool(b.o.BuildArgs[keepGitDirArg]) // else BuildKit takes it as false too
	fetched, err := how(buildcontext.Fetcher{Dir: dir, Stdin: b.o.Stdin, KeepGitDir: keep, Command: b.env.AsCaller}, ctx, ref)
	if err == nil && ref != buildcontext.Stdin {
		b.r.Report(Fetched{Ref: buildcontext.Redacted(ref)})
	}
	return fetched, err
}

func (b *build) tempDir() (string, error) {
	session, err := b.env.Store.Session()
	if err != nil {
		return "", err
	}
	return session.TempDir()
}

// contextPlace is where a build context's files are.
type contextPlace struct {
	// dir is their directory; "" is an empty context.
	dir string
	// dockerfile is the path of the Dockerfile, whose ignore file goes before
	// the context's own. It is "" where there is none.
	dockerfile string
	// fetched says that the directory is this build's alone, so that nothing
	// about its files is worth remembering.
	fetched bool
}

func localContext(dir string) contextPlace   { return contextPlace{dir: dir} }
func fetchedContext(dir string) contextPlace { return contextPlace{dir: dir, fetched: true} }

// openContext opens a context's files. An empty context is an empty directory
// of the session's.
func (b *build) openContext(p contextPlace) (*contextFiles, error) {
	if p.dir == "" {
		temp, err := b.tempDir()
		if err != nil {
			return nil, err
		}
		if p.dir, err = os.MkdirTemp(temp, "context-*"); err != nil {
			return nil, err
		}
		p.fetched = true
	}
	remember := b.env.Store.Cache()
	if p.fetched {
		remember = nil
	}
	f, err := openContext(p, remember)
	if err == nil {
		f.gitModes = b.o.GitModes
	}
	return f, err
}
