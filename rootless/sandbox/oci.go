package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/emulate"
)

// OCI is a [Sandbox] that hands the work to an OCI runtime. It is safe for
// concurrent use.
//
// Without a pid namespace, which is for places where no new /proc can be
// mounted, the program sees builder's own /proc, /sys and processes, and what
// it leaves running is found by its ipc namespace and killed.
type OCI struct {
	runtime Runtime
	pidNS   bool
	plain   bool // no namespace at all, see Chroot
	filters *filters

	once    sync.Once
	unready error
	host    host
	memory  *memory
	groups  *cgroup.Delegated

	children children
}

// NewOCI makes a sandbox of a runtime. Compiled seccomp filters are kept in
// cacheDir, which may be empty or missing.
func NewOCI(rt Runtime, cacheDir string, pidNS bool) *OCI {
	return &OCI{runtime: rt, pidNS: pidNS, filters: newFilters(rt, cacheDir)}
}

// Runtime tells which runtime does the work.
func (o *OCI) Runtime() Runtime { return o.runtime }

// Run implements [Sandbox].
func (o *OCI) Run(ctx context.Context, s Spec) (Exit, error) {
	o.once.Do(func() { o.unready = o.prepare(s.Limits) })
	if o.unready != nil {
		return Exit{}, o.unready
	}
	if o.plain {
		if err := plainly(s); err != nil {
			return Exit{}, err
		}
	}
	if failed := foreign(s); failed != nil {
		return Exit{Code: failed.code}, failed.fault(o.runtime, s)
	}
	exit, err := o.attempt(ctx, s)
	if errors.Is(err, errFilterRefused) {
		o.filters.refuse()
		return o.attempt(ctx, s)
	}
	return exit, err
}

// errFilterRefused says that the runtime doesn't take the ready-made filter.
var errFilterRefused = errors.New("the seccomp filter was refused")

func (o *OCI) attempt(ctx context.Context, s Spec) (Exit, error) {
	if ctx.Err() != nil {
		return Exit{}, context.Cause(ctx)
	}
	if err := o.host.checkIDs(s); err != nil {
		return Exit{}, err
	}
	b, err := o.newBundle(s)
	if err != nil {
		return Exit{}, err
	}
	defer b.remove()
	mem := o.memory.of(b.group)
	before := mem.oomKills()
	code, err := o.run(ctx, s, b)
	if ctx.Err() != nil {
		return Exit{Code: code}, context.Cause(ctx)
	}
	if err != nil {
		return Exit{}, runtimeError{fmt.Errorf("running %s: %w", o.runtime.Name, err)}
	}
	exit := exitOf(code)
	b.noted(&exit)
	if code != 0 {
		exit.OOM, exit.OOMUnknown = mem.oomSince(before)
	}
	if exit.OOM == nil || !exit.OOM.Asked {
		// A runtime that is killed for its program's limit complains, too.
		if code, err := o.complaint(s, b, code); err != nil {
			return Exit{Code: code}, err
		}
	}
	return exit, nil
}

// complaint tells why the runtime couldn't run the program; nil where it could.
func (o *OCI) complaint(s Spec, b *bundle, code int) (int, error) {
	failed := b.failure(code, s.Args[0])
	if failed != nil && o.runtime.isOwn() && failed.code != fault.CodeOwn {
		failed = cmp.Or(diagnose(s), failed)
	}
	if failed != nil && b.ready && strings.Contains(failed.message, "seccomp") {
		return 0, errFilterRefused
	}
	if failed == nil && o.madeNothing(b, code) {
		return code, o.mute(code)
	}
	if failed == nil && code == codeRuntime {
		failed = diagnose(s)
	}
	if failed == nil {
		return 0, nil
	}
	return failed.code, failed.fault(o.runtime, s)
}

// madeNothing tells that a runtime has ended, by itself, before there was a program:
// one that lacks a library, or is built for another machine. It logs nothing then.
func (o *OCI) madeNothing(b *bundle, code int) bool {
	return !o.runtime.isOwn() && code > 0 && code < 128 && readPID(b.path("pid")) == 0
}

// mute is the error of a runtime that has failed and logged nothing.
func (o *OCI) mute(code int) error {
	return runtimeError{fault.Machine("install "+o.runtime.Name+" again, or choose another by --runtime",
		"%s ended with code %d before it had made anything: %s", o.runtime.Name, code, o.runtime.Path)}
}

// prepare readies this process for the runtime, once. Whoever limits one
// program limits all.
func (o *OCI) prepare(l cgroup.Limits) (err error) {
	o.host = probeHost()
	o.memory = openMemory()
	if l != (cgroup.Limits{}) {
		if o.groups, err = cgroup.Open(l); err != nil {
			return err
		}
	}
	if o.runtime.Name == "crun" {
		hideOldCgroups()
	} else {
		showOldCgroups()
	}
	return nil
}

// bundle is the directory that a runtime is given, with all that one run
// leaves behind.
type bundle struct {
	dir     string
	state   string   // the runtime's own directory
	ready   bool     // the seccomp filter was passed ready-made
	console *console // where the runtime is to hand over a terminal
	// group holds the limits; nil where there are none.
	group *cgroup.Group
	// supervisor sees calls that a single id can't satisfy, as they come from
	// listener; nil where more ids are mapped.
	supervisor *emulate.Supervisor
	listener   *emulate.Listener
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bundle) remove() {
	if b.listener != nil {
		b.listener.Close()
	}
	if b.group != nil {
		b.group.Remove()
	}
	removeState(b.dir)
}

// removeState removes a directory of a runtime's files. On one of them runc binds
// its own program for a moment, which stays so where it is killed just then.
func removeState(dir string) {
	for {
		var busy *fs.PathError
		err := os.RemoveAll(dir)
		if !errors.As(err, &busy) || !errors.Is(err, unix.EBUSY) || unix.Unmount(busy.Path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) != nil {
			return
		}
	}
}

func (o *OCI) newBundle(s Spec) (_ *bundle, err error) {
	if s.ID == "" || strings.ContainsAny(s.ID, "/\x00") || len(s.Args) == 0 {
		return nil, errors.New("a sandbox needs an id and a command")
	}
	dir := filepath.Join(s.StateDir, s.ID)
	b := &bundle{dir: dir, state: filepath.Join(dir, "state")}
	if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	for _, f := range s.files() {
		if err := os.WriteFile(b.path(f.name), f.data, 0o644); err != nil {
			return nil, err
		}
		// The umask is the caller's; anyone inside may read these.
		if err := os.Chmod(b.path(f.name), 0o644); err != nil {
			return nil, err
		}
	}
	spec, err := o.runtimeSpec(s, b.dir)
	if err != nil {
		return nil, err
	}
	if err := o.limit(b, s, spec); err != nil {
		return nil, err
	}
	if !o.plain || s.Security.NoNewPrivileges { // without either the kernel takes no filter
		if err := o.supervise(b, s, spec); err != nil {
			return nil, err
		}
		if b.supervisor == nil {
			if b.ready, err = o.filters.apply(spec, s); err != nil {
				return nil, err
			}
		}
	} else if o.host.emulates(s) {
		return nil, fault.New("", "--emulate-ids needs a seccomp filter, which can't be had without a user namespace")
	}
	return b, writeSpec(b.path("config.json"), spec)
}

// limit makes the cgroup that the runtime is started in. Of version 2 alone, runc
// moves the program to another one, and has to be told that it is to be below.
func (o *OCI) limit(b *bundle, s Spec, spec *rspec.Spec) (err error) {
	if s.Limits == (cgroup.Limits{}) {
		return nil
	}
	if o.groups == nil {
		return errors.New("a program with limits follows one without")
	}
	if b.group, err = o.groups.New(s.ID, s.Limits); err != nil {
		return err
	}
	if o.runtime.movesItself() && unified() {
		spec.Linux.CgroupsPath = filepath.Join(b.group.Path(), "program")
	}
	return nil
}

func writeSpec(path string, spec *rspec.Spec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
