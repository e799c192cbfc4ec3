package build

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"time"

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
	found, err := locate(ctx, b.o, b.fetch)
	if err != nil {
		return err
	}
	b.context = found.contextPlace
	contexts, err := b.nameContexts()
	if err != nil {
		return err
	}
	b.file, err = found.parse(b.o, contexts)
	return err
}

// located is a Dockerfile and its build context.
type located struct {
	contextPlace
	src  []byte
	name string    // in messages
	time time.Time // of a context that knows one
}

func (l located) parse(o Options, contexts map[string]string) (*dockerfile.File, error) {
	return dockerfile.Parse(l.name, l.src, dockerfile.Options{
		BuildArgs: o.BuildArgs, Target: o.Target, Contexts: contexts, ContextTime: l.time, Platform: o.Platform,
		From: o.From,
	})
}

// fetchContext brings a context.
type fetchContext func(ctx context.Context, ref string, how fetchHow) (*buildcontext.Fetched, error)

type fetchHow = func(buildcontext.Fetcher, context.Context, string) (*buildcontext.Fetched, error)

// locate finds the build context and reads the Dockerfile.
func locate(ctx context.Context, o Options, fetch fetchContext) (l located, err error) {
	l.contextPlace = localContext(o.ContextDir)
	if buildcontext.IsRemote(o.ContextDir) {
		fetched, err := fetch(ctx, o.ContextDir, buildcontext.Fetcher.Fetch)
		if err != nil {
			return l, err
		}
		if fetched.Dir, err = buildcontext.Subdirectory(fetched.Dir, o.ContextSub, o.ContextDir); err != nil {
			return l, err
		}
		l.contextPlace, l.time = fetchedContext(fetched.Dir), fetched.Time
		if fetched.Dockerfile != nil && o.Source == nil {
			l.src, l.name = fetched.Dockerfile, "Dockerfile"
			if o.Dockerfile != "" {
				err = fault.New("leave --file out", "the build context %s is itself the Dockerfile, and --file names another",
					buildcontext.Redacted(o.ContextDir))
			}
			return l, err
		}
	}
	l.ignoreFile = o.IgnoreFile
	switch {
	case o.Source != nil:
		l.src, l.name = o.Source, o.Dockerfile
	case l.fetched:
		l.dockerfile, l.src, l.name, err = buildcontext.FindFetched(l.dir, o.Dockerfile)
	default:
		l.dockerfile, l.src, l.name, err = buildcontext.FindDockerfile(o.ContextDir, o.Dockerfile)
	}
	return l, err
}

// fetch brings a context into the session's private directory, which ends with
// it.
func (b *build) fetch(ctx context.Context, ref string, how fetchHow) (*buildcontext.Fetched, error) {
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
	fetched, err := how(fetcher(b.o, dir, b.env.AsCaller), ctx, ref)
	if err == nil && ref != buildcontext.Stdin {
		b.r.Report(Fetched{Ref: buildcontext.Redacted(ref)})
	}
	return fetched, err
}

func fetcher(o Options, dir string, asCaller func(*exec.Cmd)) buildcontext.Fetcher {
	keep, _ := strconv.ParseBool(o.BuildArgs[keepGitDirArg]) // else BuildKit takes it as false too
	return buildcontext.Fetcher{Dir: dir, Stdin: o.Stdin, KeepGitDir: keep, Access: access(o, asCaller, true)}
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
	// ignoreFile is the path of one that goes before both.
	ignoreFile string
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
	f, err := openContext(p, b.env.Store)
	if err == nil {
		f.gitModes = b.o.GitModes
	}
	return f, err
}
