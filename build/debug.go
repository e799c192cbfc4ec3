package build

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
)

// debugHint is the last line of what is said of a failed step that is kept.
const debugHint = "builder debug    # opens a shell in the step, as the command left it"

// keep records a failed step, so that Debug finds it, and gives err with the
// line that says so. What is in the way of that isn't what the user has to hear.
func (b *build) keep(s *dockerfile.Stage, in dockerfile.Instruction, failed *stage.Failed, err error) error {
	f := failed.Failure
	lost := failed.Lost
	if f != nil {
		f.Dockerfile, f.Context, f.Target = b.former.now.Dockerfile, b.former.now.Context, b.former.now.Target
		f.Stage, f.Place = stageName(s), fmt.Sprintf("%s:%d", b.file.Name, in.Line)
		var forgotten int
		forgotten, lost = b.env.Store.Cache().PutFailure(f)
		if lost == nil && forgotten > 0 {
			lost = b.env.Store.Layout().NoteFree(layout.Free{All: true})
		}
	}
	if lost != nil {
		slog.Debug("the failed step isn't kept", "error", lost)
		return err
	}
	b.mu.Lock()
	b.result.Made = append(b.result.Made, f.Key)
	b.mu.Unlock()
	remedy := strings.TrimPrefix(fault.Remedy(err)+"\n"+debugHint, "\n")
	return &fault.Error{Err: err, Remedy: remedy, Code: fault.Code(err), Detail: fault.Detail(err)}
}

// forgetFailures lets go of what earlier builds of the same have left, and says
// whether there was anything.
func (b *build) forgetFailures() bool {
	n, err := b.env.Store.Cache().ForgetFailures(b.former.now.ID())
	if err == nil && n > 0 {
		err = b.env.Store.Layout().NoteFree(layout.Free{All: true})
	}
	if err != nil {
		slog.Debug("the failed steps of earlier builds are still kept", "error", err)
	}
	return n > 0
}

// Failures gives the failed steps that can be opened, the newest first.
func Failures(store *storage.Store) ([]*cache.Failure, error) {
	boot, err := bootid.Get()
	if err != nil {
		return nil, err
	}
	all, err := store.Cache().Failures()
	if err != nil {
		return nil, err
	}
	var found []*cache.Failure
	for _, f := range all {
		if f.Boot == boot {
			found = append(found, f)
		}
	}
	return found, nil
}

// DebugOptions say what is to be run in a failed step.
type DebugOptions struct {
	// Before runs it over the tree as it was before the step.
	Before bool
	// Args is the command; a shell where it is empty. Env is added to the
	// step's environment.
	Args, Env []string
	// BuildArgs are values of those build arguments that aren't kept.
	BuildArgs map[string]string
	// Secrets and SSH go before those that the step had; Proxy and Trust are as for a build.
	Secrets map[string]stage.Secret
	SSH     map[string]sshagent.Access
	Proxy   []string
	Trust   trust.Authorities
	// Stdin, Stdout, Stderr and Terminal are as a sandbox has them.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool
	// Note is told what isn't as it was for the step.
	Note func(error)
}

// Debug runs a command in a failed step: over a copy of its tree that ends with
// the command, with the same user, environment, mounts and network. It needs the
// user namespace, with env's Snapshots and Sandbox.
func Debug(ctx context.Context, env Env, s *stage.FailedStep, o DebugOptions) (sandbox.Exit, error) {
	session, err := env.Store.Session()
	if err != nil {
		return sandbox.Exit{}, err
	}
	dir, err := session.TempDir()
	if err != nil {
		return sandbox.Exit{}, err
	}
	r := &stage.Runner{
		Cache: env.Store.Cache(), Layout: env.Store.Layout(), Records: env.Store.Records(),
		Snapshots: env.Snapshots, Sandbox: env.Sandbox, ExactOwners: env.ExactOwners,
		Settings: stage.Settings{
			StateDir: dir, Proxy: o.Proxy, Trust: o.Trust, Secrets: maps.Clone(o.Secrets), SSH: maps.Clone(o.SSH),
		},
		Report: func(Event) {},
	}
	if mode, dns := s.Network(); mode == network.ModePrivate {
		pool := network.NewPool(dir, "", dns)
		defer pool.Close() // its helpers end with this process at the latest
		r.Networks = pool
	}
	opened := &contexts{store: env.Store}
	defer opened.close()
	return r.Debug(ctx, s, stage.Debug{
		Before: o.Before, Args: o.Args, Env: o.Env, BuildArgs: o.BuildArgs,
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Terminal: o.Terminal,
		Open: opened.open, Note: o.Note,
	})
}

// contexts are build contexts that are opened again after the build.
type contexts struct {
	store *storage.Store
	dirs  []*buildcontext.Dir
}

func (c *contexts) open(from stage.Origin) (stage.Files, error) {
	f, err := openContext(contextPlace{dir: from.Dir, dockerfile: from.Dockerfile, ignoreFile: from.IgnoreFile}, c.store)
	if err != nil {
		return nil, err
	}
	f.gitModes = from.GitModes
	c.dirs = append(c.dirs, f.dir)
	return f, nil
}

func (c *contexts) close() {
	for _, d := range c.dirs {
		_ = d.Close() // it was only read from
	}
}
