package stage

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/snapshot"
)

// FailedCommandEnv is the variable by which a shell in a failed step knows its
// command.
const FailedCommandEnv = "BUILDER_FAILED_COMMAND"

// termEnv is where programs look for their terminal's kind.
const termEnv = "TERM"

// Debug says what is to be run in a failed step.
type Debug struct {
	// Before runs it over the tree as it was before the step.
	Before bool
	// Args is the command; a shell where it is empty.
	Args []string
	// Env is added to the step's environment, and wins over it.
	Env []string
	// BuildArgs are values of those build arguments that aren't kept.
	BuildArgs map[string]string
	// Stdin, Stdout, Stderr and Terminal are as the sandbox has them. With a
	// terminal comes its kind, unless the step's environment has one.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool
	// Open opens a build context again.
	Open func(Origin) (Files, error)
	// Note is told what isn't as it was for the step.
	Note func(error)
}

// FailedStep is a command that failed, ready to be run again.
type FailedStep struct {
	failure *cache.Failure
	run     failedRun
}

// OpenFailure reads what is kept of a failed command.
func OpenFailure(f *cache.Failure) (*FailedStep, error) {
	s := &FailedStep{failure: f}
	if f.Version != failedVersion || json.Unmarshal(f.Run, &s.run) != nil {
		return nil, fault.New("build again, with the builder that shall open it", "the failed step was kept by another version of builder")
	}
	return s, nil
}

// Network is the network that the command had.
func (s *FailedStep) Network() (network.Mode, network.DNS) { return s.run.Spec.Network, s.run.DNS }

// Limits are those that the command was held to.
func (s *FailedStep) Limits() cgroup.Limits { return s.run.Spec.Limits }

// Unlimit lets what is run go without them, where they can't be held.
func (s *FailedStep) Unlimit() { s.run.Spec.Limits = cgroup.Limits{} }

// Command is the failed command as one line for a shell.
func (s *FailedStep) Command() string {
	args, shell := s.run.Spec.Args, s.run.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	if n := len(shell); len(args) == n+1 && slices.Equal(args[:n], shell) {
		return args[n]
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quote(arg)
	}
	return strings.Join(words, " ")
}

// quote writes a word so that a shell reads it as it is.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Debug runs a command in a failed step, over a copy of its tree that ends with
// the command. The Runner's Settings give secrets, and the proxies; what the
// step had is the step's.
func (r *Runner) Debug(ctx context.Context, s *FailedStep, d Debug) (exit sandbox.Exit, err error) {
	own := *r
	r = &own
	r.Settings.AddHosts, r.Settings.DNS = s.run.AddHosts, s.run.DNS
	if err := s.settleSecrets(&r.Settings); err != nil {
		return exit, err
	}
	active, err := s.prepare(ctx, r, d.Before)
	if err != nil {
		return exit, err
	}
	defer func() { err = errors.Join(err, active.Discard()) }()
	spec, err := s.spec(r, active.Parent(), d)
	if err != nil {
		return exit, err
	}
	defer func() { _ = os.RemoveAll(spec.StateDir) }()
	in := Run{Script: s.run.Script}
	shows, err := s.mounts(ctx, r, &in, d)
	if err != nil {
		return exit, err
	}
	detach, err := in.attach(ctx, r, &spec, shows)
	defer func() { err = errors.Join(err, detach()) }()
	if err != nil {
		return exit, err
	}
	if err := r.Settings.showTrust(&spec); err != nil {
		return exit, err
	}
	if err := in.showScript(&spec); err != nil {
		return exit, err
	}
	release, err := in.connect(ctx, r, &spec)
	if err != nil {
		return exit, err
	}
	defer func() { _ = release() }() // nothing is made of what its end could spoil
	if _, err = mountRoot(ctx, active, &spec); err != nil {
		return exit, err
	}
	if _, err = r.Settings.trusting(&spec); err != nil { // the tree is a copy that ends here
		return exit, errors.Join(err, active.Unmount(context.WithoutCancel(ctx)))
	}
	exit, err = r.Sandbox.Run(ctx, spec)
	return exit, errors.Join(err, active.Unmount(context.WithoutCancel(ctx)))
}

// prepare makes a copy of the step's tree.
func (s *FailedStep) prepare(ctx context.Context, r *Runner, before bool) (*snapshot.Active, error) {
	tree := s.failure.Key
	if before {
		tree = s.failure.Before
	}
	active, err := r.Snapshots.Prepare(ctx, tree)
	if !errors.Is(err, snapshot.ErrNotFound) {
		return active, err
	}
	boot, berr := bootid.Get()
	switch {
	case berr == nil && boot != s.failure.Boot:
		return nil, fault.New("build again", "the failed step's files are of before this machine was started, and count no more")
	case r.Snapshots.Root() != s.failure.Root:
		return nil, fault.New("use the build's --storage-driver, and the same subordinate ids",
			"the failed step's files are kept by %s, and this is %s", s.failure.Root, r.Snapshots.Root())
	}
	return nil, fault.New("build again", "the failed step's files aren't there any more: %w", err)
}

// spec describes the sandbox.
func (s *FailedStep) spec(r *Runner, tree *layer.Tree, d Debug) (sandbox.Spec, error) {
	spec := s.run.Spec
	spec.ID = newID()
	spec.StateDir = filepath.Join(r.Settings.StateDir, spec.ID)
	spec.Stdin, spec.Stdout, spec.Stderr, spec.Terminal = d.Stdin, d.Stdout, d.Stderr, d.Terminal
	spec.Env = r.Settings.lent(s.env(d))
	if spec.Args = d.Args; len(spec.Args) == 0 {
		shell, err := s.shell(tree)
		if err != nil {
			return spec, err
		}
		spec.Args = []string{shell}
		spec.Env = setEnv(spec.Env, FailedCommandEnv, s.Command())
	}
	return spec, os.MkdirAll(spec.StateDir, 0o700)
}

// env is the command's environment, with what is given now. What is missing is
// told.
func (s *FailedStep) env(d Debug) []string {
	env := slices.Clone(s.run.Spec.Env)
	var missing []string
	for _, name := range s.run.Withheld {
		if value, given := d.BuildArgs[name]; given {
			env = setEnv(env, name, value)
		} else if _, given := lookupEnv(d.Env, name); !given {
			missing = append(missing, name)
		}
	}
	for _, kv := range d.Env {
		name, value, _ := strings.Cut(kv, "=")
		env = setEnv(env, name, value)
	}
	if _, set := lookupEnv(env, termEnv); d.Terminal && !set {
		env = setEnv(env, termEnv, cmp.Or(os.Getenv(termEnv), "xterm"))
	}
	if len(missing) > 0 {
		d.Note(fault.New("builder debug --env "+missing[0]+"=VALUE",
			"the build argument %s isn't kept, since it may be a secret", strings.Join(missing, ", ")))
	}
	return env
}

// shell is the stage's own if the tree has it, else /bin/sh.
func (s *FailedStep) shell(tree *layer.Tree) (string, error) {
	var names []string
	if len(s.run.Shell) > 0 {
		names = s.run.Shell[:1]
	}
	search, set := lookupEnv(s.run.Spec.Env, "PATH")
	if !set {
		search = DefaultPath
	}
	for _, name := range append(slices.Clone(names), "/bin/sh") {
		places := []string{name}
		if !strings.Contains(name, "/") {
			places = nil
			for dir := range strings.SplitSeq(search, ":") {
				places = append(places, path.Join("/", dir, name))
			}
		}
		for _, place := range places {
			if isFile(tree, place) {
				return place, nil
			}
		}
	}
	return "", fault.New("builder debug -- /PROGRAM    # runs one that is there\nbuilder debug --before    # opens the tree as it was before the step",
		"the failed step has no shell: no %s", strings.Join(append(names, "/bin/sh"), ", no "))
}

func isFile(tree *layer.Tree, name string) bool {
	target, err := tree.Resolve(name, true)
	if err != nil {
		return false
	}
	e, err := tree.Lstat(target)
	return err == nil && e.Type != tar.TypeDir
}

// settleSecrets gives the command's secrets: those that were given now, else
// those that it had, read from where they were.
func (s *FailedStep) settleSecrets(now *Settings) error {
	secrets, access := map[string]Secret{}, map[string]sshagent.Access{}
	for id, was := range s.run.Secrets {
		given, ok := now.Secrets[id]
		if secrets[id] = given; ok {
			continue
		}
		if secrets[id] = was; was.there() != nil {
			return fault.New(fmt.Sprintf("builder debug --secret id=%[1]s,src=FILE    # or id=%[1]s,env=NAME", id),
				"the step had the secret %s, which isn't kept: %w", id, was.there())
		}
	}
	for id, was := range s.run.SSH {
		given, ok := now.SSH[id]
		if access[id] = given; ok {
			continue
		}
		if access[id] = was; was.There() != nil {
			return fault.New(fmt.Sprintf("builder debug --ssh %[1]s    # or %[1]s=KEYFILE", id),
				"the step had ssh access %s, which isn't kept: %w", id, was.There())
		}
	}
	for id, given := range now.Secrets {
		secrets[id] = given
	}
	for id, given := range now.SSH {
		access[id] = given
	}
	now.Secrets, now.SSH = secrets, access
	return nil
}

// there tells why a secret can't be read, nil where it can.
func (s Secret) there() error {
	_, err := s.Read()
	return err
}

// mounts gives the command's mounts with what they show. One whose files are
// nowhere any more is left out, and told of.
func (s *FailedStep) mounts(ctx context.Context, r *Runner, in *Run, d Debug) ([]*shown, error) {
	var shows []*shown
	for _, kept := range s.run.Mounts {
		var from Source
		var show *shown
		var lost error
		if kept.Shows != nil {
			from = keptFiles{r, kept.Shows, d.Open}
			show, lost = kept.Shows.show(ctx, from, d.Note)
		}
		m, err := kept.open(from)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case HostMount:
			_, lost = os.Stat(m.Source)
		case HostDevice:
			_, lost = os.Stat(m.Source)
		}
		if _, isCache := m.(CacheMount); lost != nil && !isCache {
			d.Note(fmt.Errorf("the mount at %s isn't there: %w", m.target(), lost))
			continue
		}
		in.Mounts, shows = append(in.Mounts, m), append(shows, show)
	}
	return shows, nil
}

// show finds what a mount showed. With an error comes what only names it.
func (k *keptSource) show(ctx context.Context, from Source, note func(error)) (*shown, error) {
	s := &shown{from: from, path: k.Path, content: k.Content}
	if k.Context != nil {
		now := &shown{from: from, path: k.Path}
		if err := now.load(ctx); err != nil {
			return s, err
		}
		if now.content != k.Content {
			note(fmt.Errorf("%s has changed since the step failed, and is shown as it is now", filepath.Join(k.Context.Dir, k.Path)))
		}
		now.content = k.Content // it names a cache mount
		return now, nil
	}
	files, err := from.Files(ctx)
	if err != nil {
		return s, err
	}
	s.files, s.source, s.match = files, &State{Tree: k.Tree}, Match{Path: k.Path}
	return s, nil
}

var errFetched = errors.New("it came from a build context that was fetched, and isn't kept")

// keptFiles is what a mount showed, as its source.
type keptFiles struct {
	r    *Runner
	kept *keptSource
	open func(Origin) (Files, error)
}

// Known is never needed: nothing is built.
func (k keptFiles) Known(context.Context) (*State, error) { return nil, nil }

// Files opens the tree or the context.
func (k keptFiles) Files(ctx context.Context) (Files, error) {
	switch {
	case k.kept.Context != nil:
		return k.open(*k.kept.Context)
	case k.kept.Fetched:
		return nil, errFetched
	}
	return k.r.TreeFiles(ctx, &State{Tree: k.kept.Tree})
}
