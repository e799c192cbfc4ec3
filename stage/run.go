package stage

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
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
	shows := in.shows()
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
		{Name: "owners", Value: strconv.FormatBool(r.ExactOwners)},
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

func (in Run) execute(ctx context.Context, r *Runner, st *State, at Step, j *job, shows []*shown, result snapshot.Key) (err error) {
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
	exit, err := r.Sandbox.Run(ctx, spec)
	// Without its file system the command failed, too, or couldn't be run.
	uerr := active.Unmount(ctx)
	if err == nil || errors.Is(uerr, unix.ENOTCONN) {
		err = uerr
	}
	if uerr == nil {
		uerr = undo()
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

// spec describes the sandbox of the command.
func (in Run) spec(r *Runner, st *State, active *snapshot.Active) (sandbox.Spec, error) {
	user, err := lookupUser(active.Parent(), st.Config.Config.User)
	if err != nil {
		return sandbox.Spec{}, err
	}
	id := newID()
	s := sandbox.Spec{
		ID:       id,
		Args:     in.Args,
		Env:      withProxy(homeEnv(st.Env(), user.Home), r.Settings.Proxy),
		Cwd:      workdir(st),
		UID:      uint32(user.Uid),
		GID:      uint32(user.Gid),
		Hostname: cmp.Or(r.Settings.Hostname, hostname),
		Ulimits:  r.Settings.Ulimits,
		ShmSize:  r.Settings.ShmSize,
		Network:  in.network(r),
		CapAdd:   r.Settings.CapAdd,
		CapDrop:  r.Settings.CapDrop,
		Insecure: in.Insecure,
		Security: r.Settings.Security,
		Limits:   r.Settings.Limits,
		StateDir: filepath.Join(r.Settings.StateDir, id),
	}
	s.Groups = Groups(user)
	return s, os.MkdirAll(s.StateDir, 0o700)
}

// showScript puts a here-document that is a program into the sandbox.
func (in Run) showScript(s *sandbox.Spec) error {
	if in.Script == nil {
		return nil
	}
	file := filepath.Join(s.StateDir, "script")
	if err := os.WriteFile(file, in.Script.Data, 0o600); err != nil {
		return err
	}
	s.Mounts = append(s.Mounts, sandbox.Mount{
		Type: "bind", Source: file, Destination: in.Script.Path, Options: []string{"bind", "ro"},
	})
	return os.Chmod(file, os.FileMode(in.Script.Mode))
}

// connect gives the sandbox its network, and the function that gives it back.
func (in Run) connect(ctx context.Context, r *Runner, s *sandbox.Spec) (func() error, error) {
	release := func() error { return nil }
	var n network.Network
	switch s.Network {
	case network.ModePrivate:
		acquire := r.Networks.Acquire
		if len(s.CapAdd) > 0 || s.Insecure {
			acquire = r.Networks.AcquireFresh
		}
		ns, err := acquire(ctx)
		if err != nil {
			return nil, err
		}
		release = func() error { return r.Networks.Release(ns) }
		n = ns.Network()
	case network.ModeNone:
		n = network.ForNone()
	default:
		n = network.ForHost(r.Settings.DNS)
	}
	s.NetNS, s.ResolvConf = n.NSPath, n.Resolv
	if s.ResolvConf == nil {
		s.ResolvConf = []byte{}
	}
	s.Hosts = sandbox.HostsFile(s.Hostname, n.HostsIP, r.Settings.AddHosts)
	return release, nil
}

// homeEnv is the environment of a command that the config and the arguments
// give, with HOME.
func homeEnv(env []string, home string) []string {
	if _, set := lookupEnv(env, "HOME"); !set {
		env = append(env, "HOME="+home)
	}
	return env
}

// withProxy adds the proxies that env doesn't set itself.
func withProxy(env, proxy []string) []string {
	for _, kv := range proxy {
		name, _, _ := strings.Cut(kv, "=")
		if _, set := lookupEnv(env, name); !set {
			env = append(env, kv)
		}
	}
	return env
}

// hostname is what a RUN sees as its host's name where nobody names one; it is the
// same in all builds, so that what prints it gives the same layer.
const hostname = "builder"

// DefaultPath is the PATH of images that set none, as docker has it.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// logHint is the line by which an error's tail of the output leads to all of it.
func logHint(result snapshot.Key) string {
	return fmt.Sprintf("builder logs %.12s    # prints the whole output of the step", result.Encoded())
}

// exitError tells how a command failed. The process that runs the build ends
// with the command's own code.
func exitError(exit sandbox.Exit, result snapshot.Key, tail []string) error {
	e := &fault.Error{
		Code:   exit.Code,
		Detail: tail,
		Remedy: logHint(result),
	}
	switch {
	case exit.OOM != nil:
		what := "the command was killed"
		if exit.Signal == 0 {
			what = "one of the command's processes was killed"
		}
		e.Err = fmt.Errorf("%s (exit code %d) by the kernel's out-of-memory killer: %s", what, exit.Code, describeOOM(exit.OOM))
		more := "give the build more memory"
		if exit.OOM.Asked {
			more = "raise the limit (--memory)"
		}
		e.Remedy = more + ", or let the step use less (fewer parallel jobs)\n" + e.Remedy
	case exit.Signal != 0 && exit.OOMUnknown:
		e.Err = fmt.Errorf("the command was killed by signal %d (exit code %d); whether by the kernel's out-of-memory killer is unknown, since no memory cgroup can be read here", exit.Signal, exit.Code)
		e.Remedy = "sudo dmesg | tail    # tells whether it was for want of memory\n" + e.Remedy
	case exit.Signal != 0:
		e.Err = fmt.Errorf("the command was killed by signal %d (exit code %d); not by the kernel's out-of-memory killer, as far as its cgroup tells", exit.Signal, exit.Code)
	default:
		e.Err = fmt.Errorf("the command ended with exit code %d", exit.Code)
	}
	return e
}

// withoutNetwork makes an error of a network that broke while the command ran.
// A command may take that for an answer, and its result must not be kept.
func withoutNetwork(broken, err error, result snapshot.Key) error {
	if err != nil {
		return &fault.Error{
			Err:  fmt.Errorf("%w; its network had broken down: %w", err, broken),
			Code: fault.Code(err), Detail: fault.Detail(err),
			Remedy: fault.Remedy(broken) + "\n" + fault.Remedy(err),
		}
	}
	return fault.New(fault.Remedy(broken)+"\n"+logHint(result),
		"the command's network broke down, so that what it made isn't kept: %w", broken)
}

// fuseError tells that the tree's file system broke down under the command.
func fuseError(err error, result snapshot.Key, tail []string) error {
	return &fault.Error{
		Err:    fmt.Errorf("fuse-overlayfs has ended while the command ran: %w", err),
		Detail: tail,
		Remedy: "sudo dmesg | tail    # tells whether the kernel killed it for want of memory\n" + logHint(result),
	}
}

func describeOOM(o *sandbox.OOM) string {
	text := "cgroup " + o.Cgroup
	if o.Limit > 0 {
		text += ", limit " + units.BytesSize(float64(o.Limit))
	}
	if o.Peak > 0 {
		text += ", peak " + units.BytesSize(float64(o.Peak))
	}
	return text
}
