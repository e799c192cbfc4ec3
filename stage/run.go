package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Run is RUN: a command in the sandbox, whose changes to the tree become a
// layer.
type Run struct {
	// Args is the argument vector, the shell included.
	Args []string
	// Script, where set, is a here-document that is a program of its own.
	Script *Script
	// Network is the instruction's own choice, "" for the build's.
	Network network.Mode
	// Insecure is --security=insecure: little is denied to the command.
	Insecure bool
	// Mounts are what the command sees beside the tree, in the order of mounting.
	Mounts []Mount
	// Instruction is the text in the Dockerfile, CreatedBy its line in the
	// history.
	Instruction, CreatedBy string
}

// Script is a file that the sandbox shows, read-only, at an absolute path.
type Script struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
	Mode uint32 `json:"mode"`
}

func (in Run) apply(ctx context.Context, r *Runner, st *State, at Step) error {
	shows := in.shows(r.Cache.Dir())
	if in.surelyNew(r, st, shows) {
		return ErrNamespace
	}
	for _, s := range shows {
		if s == nil {
			continue
		}
		if err := s.lookUp(ctx, r); err != nil {
			return err
		}
	}
	st.define("run", append(in.inputs(r, st), definitions(shows)...))
	if known, err := in.asKnown(r, st, at, shows); known || err != nil {
		return err
	}
	for _, s := range shows {
		if s == nil || s.source == nil {
			continue
		}
		if err := r.awaiting(at, s.from, func() error { return s.load(ctx) }); err != nil {
			return err
		}
	}
	if err := in.markSeen(r, st, shows); err != nil {
		return err
	}
	if err := r.solve(ctx, st, at, in.job(r, st, at, shows)); err != nil {
		return err
	}
	return in.noteSources(r, st, shows)
}

// job is the execution of the command over st, once it is known what the mounts
// show.
func (in Run) job(r *Runner, st *State, at Step, shows []*shown) *job {
	j := &job{
		kind:        "run",
		inputs:      append([]cache.Input{{Name: "parent", Value: st.Key.String()}}, in.inputs(r, st)...),
		instruction: in.Instruction,
		createdBy:   in.CreatedBy,
	}
	for _, s := range shows {
		if s != nil {
			j.inputs = append(j.inputs, cache.Input{Name: mountedInput + s.mount.target(), Value: s.content.String()})
		}
	}
	j.details = func(yield func(cache.Input) bool) {
		for in := range st.variables {
			if !yield(in) {
				return
			}
		}
		for _, s := range shows {
			if !s.details(yield) {
				return
			}
		}
	}
	j.execute = func(ctx context.Context, result snapshot.Key) error {
		return in.execute(ctx, r, st, at, j, shows, result)
	}
	return j
}

// inputs lists all that the command can see, but the tree.
func (in Run) inputs(r *Runner, st *State) []cache.Input {
	c := st.Config.Config
	inputs := []cache.Input{
		{Name: "platform", Value: st.platform()},
		{Name: "user", Value: c.User},
		{Name: "workdir", Value: workdir(st)},
		{Name: "network", Value: string(in.network(r))},
		{Name: "owners", Value: in.owners(r)},
		{Name: "shm-size", Value: strconv.FormatInt(r.Settings.ShmSize, 10)},
	}
	for _, a := range in.Args {
		inputs = append(inputs, cache.Input{Name: "arg", Value: a})
	}
	if in.Script != nil {
		inputs = append(inputs, cache.Input{Name: "script", Value: in.Script.Path + "\n" + string(in.Script.Data)})
	}
	for _, u := range r.Settings.Ulimits {
		inputs = append(inputs, cache.Input{Name: "ulimit", Value: fmt.Sprint(u)})
	}
	for _, h := range r.Settings.AddHosts {
		inputs = append(inputs, cache.Input{Name: "host", Value: h})
	}
	for _, name := range r.Settings.CapAdd {
		inputs = append(inputs, cache.Input{Name: "cap-add", Value: name})
	}
	for _, name := range r.Settings.CapDrop {
		inputs = append(inputs, cache.Input{Name: "cap-drop", Value: name})
	}
	if name := r.Settings.Hostname; name != "" {
		inputs = append(inputs, cache.Input{Name: "hostname", Value: name})
	}
	inputs = append(inputs, in.securityInputs(r.Settings.Security)...)
	for _, m := range in.Mounts {
		inputs = append(inputs, cache.Input{Name: "mount", Value: m.declaration()})
	}
	inputs = append(inputs, cache.Input{Name: "dns", Value: fmt.Sprint(r.Settings.DNS)})
	for _, kv := range st.Env() {
		name, value, _ := strings.Cut(kv, "=")
		inputs = append(inputs, envInput("env:", name, value))
	}
	return inputs
}

// owners tells how owners come to be that the command sets: what is emulated must
// not pose as what is.
func (in Run) owners(r *Runner) string {
	if !r.ExactOwners && r.Settings.EmulateIDs {
		return "emulated"
	}
	return strconv.FormatBool(r.ExactOwners)
}

func (in Run) network(r *Runner) network.Mode {
	if in.Network != "" {
		return in.Network
	}
	return r.Settings.Network
}

// workdir is the directory in which commands run.
func workdir(st *State) string {
	if d := st.Config.Config.WorkingDir; d != "" {
		return d
	}
	return "/"
}

// refuser is a sandbox that may know beforehand that it runs nothing.
type refuser interface{ Refusal() error }

func (in Run) execute(ctx context.Context, r *Runner, st *State, at Step, j *job, shows []*shown, result snapshot.Key) (err error) {
	if s, ok := r.Sandbox.(refuser); ok {
		if err := s.Refusal(); err != nil {
			return err
		}
	}
	active, err := r.Snapshots.Prepare(ctx, st.Tree)
	if err != nil {
		return err
	}
	defer func() { _ = active.Discard() }()

	spec, err := in.spec(r, st, active)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(spec.StateDir) }()
	detach, err := in.attach(ctx, r, &spec, shows)
	defer func() { err = errors.Join(err, detach()) }()
	if err != nil {
		return err
	}
	if err := r.Settings.showTrust(&spec); err != nil {
		return err
	}
	if err := in.showScript(&spec); err != nil {
		return err
	}
	release, err := in.connect(ctx, r, &spec)
	if err != nil {
		return err
	}
	exit, err := in.logged(ctx, r, active, spec, at, j, result)
	if broken := release(); broken != nil && ctx.Err() == nil {
		err = withoutNetwork(broken, err, result)
	}
	if err != nil && exit.Code != 0 && ctx.Err() == nil && !errors.Is(err, unix.ENOTCONN) {
		return in.keep(r, st, active, spec, shows, result, err)
	}
	if err != nil {
		return err
	}
	if err := active.CheckNames(ctx); err != nil {
		return err
	}
	return active.Commit(result)
}

// logged runs the command and keeps what it prints. With an error comes how the
// command ended, if it ran.
func (in Run) logged(ctx context.Context, r *Runner, active *snapshot.Active, spec sandbox.Spec, at Step, j *job, result snapshot.Key) (sandbox.Exit, error) {
	path, file, err := r.Cache.LogFile(result)
	if err != nil {
		return sandbox.Exit{}, err
	}
	out := newOutput(r, at, file)
	j.log = path
	r.Report(Running{Step: at, ID: spec.ID})
	exit, err := runIn(ctx, r, active, spec, out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, unix.ENOTCONN) {
		return exit, fuseError(err, result, out.tail())
	}
	if err != nil {
		return exit, err
	}
	if exit.Code != 0 {
		return exit, exitError(exit, result, out.tail())
	}
	if missed := otherOwners(exit.IDs); missed != "" {
		r.Report(Warning{Step: at, Text: missed})
	}
	return exit, nil
}

// runIn mounts the snapshot, runs the command over it, and leaves in its upper
// directory what the command changed, less the sandbox's own mount points.
func runIn(ctx context.Context, r *Runner, active *snapshot.Active, spec sandbox.Spec, out *output) (sandbox.Exit, error) {
	undo, err := mountRoot(ctx, active, &spec)
	if err != nil {
		return sandbox.Exit{}, err
	}
	spec.Stdout, spec.Stderr = out.stdout(), out.stderr()
	hide, err := r.Settings.trusting(&spec)
	if err != nil {
		return sandbox.Exit{}, errors.Join(err, active.Unmount(ctx))
	}
	exit, err := r.Sandbox.Run(ctx, spec)
	if herr := hide(); err == nil {
		err = herr
	}
	// Without its file system the command failed, too, or couldn't be run.
	uerr := active.Unmount(ctx)
	if err == nil || errors.Is(uerr, unix.ENOTCONN) {
		err = uerr
	}
	if uerr == nil {
		uerr = undo()
	}
	if uerr == nil {
		uerr = NoteOwners(active, exit.IDs)
	}
	if err == nil {
		err = uerr
	}
	return exit, err
}

// mountRoot mounts the snapshot as the sandbox's root. undo removes the mount
// points that it lacked, when it is unmounted.
func mountRoot(ctx context.Context, active *snapshot.Active, spec *sandbox.Spec) (undo func() error, err error) {
	var points []snapshot.MountPoint
	for _, p := range sandbox.MountPoints(*spec) {
		points = append(points, snapshot.MountPoint{Path: p.Path, Dir: p.Dir})
	}
	if undo, err = active.MakeMountPoints(points); err != nil {
		return nil, err
	}
	spec.RootFS, err = active.Mount(ctx)
	return undo, err
}
