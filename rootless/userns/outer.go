package userns

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// outer is the process that the user started, and what it is to start.
type outer struct {
	mapping Mapping
	join    int // a process whose user namespace is taken; 0: a new one is made
	args    []string
	env     []string
	// job keeps the inner process in this session and process group and gives
	// it no pid namespace: a shell that it starts then has the terminal, job
	// control and the process ids that it has outside.
	job bool
	// detached lets the inner process outlive this one.
	detached bool
	noMounts bool       // without a user namespace: there is no mount namespace either
	files    []*os.File // the inner process has them behind the control socket
	// stdin and stdout are the inner process's; nil stands for this one's.
	stdin, stdout *os.File
}

// controlFD is the inner process's end of the control socket. The outer one
// sends one byte when the ids are mapped; the inner one answers by a line, why
// it can't have a pid namespace, or an empty one. After that nobody writes:
// its end of file tells the inner process that the outer one is dead.
const controlFD = 3

// inner is the process in the namespace, seen from outside.
type inner struct {
	process *os.Process
	control *os.File
}

// errNoPIDNamespace says that the inner process has found no way to mount a
// fresh /proc, or the kernel makes no further pid namespace.
var errNoPIDNamespace = errors.New("no pid namespace")

func (o *outer) run(ctx context.Context) (int, error) {
	signals := make(chan os.Signal, 32)
	catch(signals, passedSignals...)
	if !o.job {
		// The inner process is out of the terminal's reach, and stops with us.
		catch(signals, unix.SIGTSTP)
	}
	defer signal.Stop(signals)

	// The parent-death signal comes when the *thread* that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	c, pidNS, err := o.startBest(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.control.Close() }()
	if !pidNS {
		defer endDescendants(c.others)
	}
	if o.job {
		defer keepTerminal()()
	}
	return c.wait(ctx, signals, o.job)
}

// launch starts the inner process and lets go of it.
func (o *outer) launch(ctx context.Context) error {
	in, reason, err := o.start(ctx, true, "")
	if errors.Is(err, errNoPIDNamespace) {
		in, _, err = o.startWithoutPIDs(ctx, reason)
	}
	if err != nil {
		return err
	}
	return in.control.Close()
}

type started struct {
	inner
	others map[int]bool // children that this process had before
}

// startBest starts the inner process with a pid namespace, else without one:
// whether a fresh /proc can be mounted is known only by trying.
func (o *outer) startBest(ctx context.Context) (s started, pidNS bool, err error) {
	var why string
	if !o.job {
		in, reason, err := o.start(ctx, true, "")
		if err == nil {
			return started{inner: in}, true, nil
		}
		if !errors.Is(err, errNoPIDNamespace) {
			return started{}, false, err
		}
		why = reason
	}
	others := children(os.Getpid())
	if err := becomeSubreaper(); err != nil {
		return started{}, false, err
	}
	in, _, err := o.startWithoutPIDs(ctx, why)
	return started{in, others}, false, err
}

// startWithoutPIDs starts the inner process without a pid namespace, and where it
// has no user namespace, without mounts of its own if need be.
func (o *outer) startWithoutPIDs(ctx context.Context, why string) (inner, string, error) {
	in, reason, err := o.start(ctx, false, why)
	if err != nil && o.mapping.Plain() && !o.noMounts {
		o.noMounts = true
		in, reason, err = o.start(ctx, false, why)
	}
	return in, reason, err
}

// start starts the inner process and maps its ids. With errNoPIDNamespace
// comes the reason; nothing is left running then.
func (o *outer) start(ctx context.Context, pidNS bool, stepDown string) (in inner, reason string, err error) {
	ours, theirs, err := controlSocket()
	if err != nil {
		return inner{}, "", err
	}
	process, err := o.fork(ours, theirs, pidNS, stepDown)
	_ = theirs.Close() // so that its death is our end of file
	if err != nil {
		_ = ours.Close()
		if pidNS && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL)) {
			return inner{}, fmt.Sprintf("the kernel makes none: %v", errno(err)), errNoPIDNamespace
		}
		if f := (*fault.Error)(nil); errors.As(err, &f) {
			return inner{}, "", f
		}
		return inner{}, "", refusal{doctor.Namespace(errno(err))}
	}
	in = inner{process, ours}
	if o.join == 0 && !o.mapping.Plain() {
		if err := o.mapping.write(ctx, process.Pid); err != nil {
			in.abandon()
			return inner{}, "", err
		}
	}
	if _, err := ours.Write([]byte{1}); err != nil && !errors.Is(err, unix.EPIPE) {
		in.abandon()
		return inner{}, "", fault.New("", "releasing the process in the user namespace: %w", err)
	}
	answer := make([]byte, maxAnswer)
	n, _ := ours.Read(answer) // an end of file: it is dead, as its exit code will say
	if n == 0 {
		return in, "", nil
	}
	switch text := string(answer[1:n]); answer[0] {
	case answerNoPIDs:
		in.abandon()
		return inner{}, text, errNoPIDNamespace
	case answerRefused:
		in.abandon()
		return inner{}, "", refusal{cmp.Or(readLack(text), fault.New("", "%s", text))}
	}
	return in, "", nil
}

// abandon ends the inner process before it has done anything.
func (in inner) abandon() {
	_ = in.control.Close()
	_ = in.process.Kill()
	_, _ = in.process.Wait()
}

func controlSocket() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fault.New("", "making a socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// fork starts this program in new namespaces. It waits there, in Setup, for
// its ids.
func (o *outer) fork(ours, control *os.File, pidNS bool, stepDown string) (*os.Process, error) {
	if o.join != 0 {
		return o.forkJoined(ours, control, pidNS, stepDown)
	}
	env, err := o.environment(pidNS, stepDown)
	if err != nil {
		return nil, err
	}
	closeOnExec()
	stdin, closeStdin, err := o.input()
	if err != nil {
		return nil, err
	}
	defer closeStdin()
	attr := &os.ProcAttr{
		Env:   env,
		Files: append([]*os.File{0: stdin, 1: cmp.Or(o.stdout, os.Stdout), 2: os.Stderr, controlFD: control}, o.files...),
		Sys: &syscall.SysProcAttr{
			// Ctrl-C comes to this process alone, which passes it on once.
			Setsid: !o.job,
		},
	}
	switch {
	case !o.mapping.Plain():
		attr.Sys.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
		// An exec as an id that isn't mapped yet drops all capabilities
		// but these.
		attr.Sys.AmbientCaps = capabilities()
	case !o.noMounts:
		attr.Sys.Cloneflags = unix.CLONE_NEWNS
	}
	if pidNS {
		attr.Sys.Cloneflags |= unix.CLONE_NEWPID
		if !o.detached {
			attr.Sys.Pdeathsig = unix.SIGKILL
		}
	}
	args := o.args
	if args == nil {
		args = os.Args
	}
	return os.StartProcess("/proc/self/exe", args, attr)
}

// input is the inner process's standard input.
func (o *outer) input() (f *os.File, done func(), err error) {
	if !o.detached {
		return cmp.Or(o.stdin, os.Stdin), func() {}, nil
	}
	f, err = os.Open(os.DevNull)
	return f, func() { _ = f.Close() }, err
}

func (o *outer) environment(pidNS bool, stepDown string) ([]string, error) {
	mapping, err := json.Marshal(o.mapping.carried())
	if err != nil {
		return nil, err
	}
	env := append(Environ(), o.env...)
	env = append(env, envInside+"=1", envMapping+"="+string(mapping), envStepDown+"="+stepDown)
	if pidNS {
		env = append(env, envPID+"=1")
	}
	if o.detached {
		env = append(env, envDetached+"=1")
	}
	if !o.noMounts {
		env = append(env, envMounts+"=1")
	}
	// By these the libraries of containers/ know that they aren't root, and
	// who the user is; the outermost namespace's word stands.
	if o.mapping.Plain() {
		return env, nil
	}
	if os.Getenv("_CONTAINERS_USERNS_CONFIGURED") == "" {
		env = append(env, "_CONTAINERS_USERNS_CONFIGURED=done",
			"_CONTAINERS_ROOTLESS_UID="+strconv.Itoa(os.Geteuid()),
			"_CONTAINERS_ROOTLESS_GID="+strconv.Itoa(os.Getegid()))
	}
	return env, nil
}

// closeOnExec keeps what this process inherited from the inner one. (The
// runtime makes its own descriptors close-on-exec.)
func closeOnExec() {
	if unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= controlFD {
			unix.CloseOnExec(fd)
		}
	}
}

// capabilities gives all that the kernel knows.
func capabilities() []uintptr {
	var all []uintptr
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil {
			all = append(all, c)
		}
	}
	return all
}

func errno(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// grace is how long an ended context waits for the signal that ended it.
const grace = 100 * time.Millisecond

// wait passes signals on until the inner process has ended.
func (in inner) wait(ctx context.Context, signals <-chan os.Signal, job bool) (int, error) {
	ended := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		state, err := in.process.Wait()
		if err != nil {
			failed <- fault.New("", "waiting for the process in the user namespace: %w", err)
			return
		}
		ended <- exitStatus(state)
	}()
	done := ctx.Done()
	var late <-chan time.Time
	signalled := false
	for {
		select {
		case code := <-ended:
			return code, nil
		case err := <-failed:
			return 0, err
		case s := <-signals:
			signalled = signalled || s != unix.SIGWINCH && s != unix.SIGCONT
			in.pass(s, job)
		case <-done:
			done, late = nil, time.After(grace)
		case <-late:
			if !signalled {
				in.pass(unix.SIGTERM, job)
			}
		}
	}
}

// exitStatus is the shell's: 128+n for a death by signal n.
func exitStatus(state *os.ProcessState) int {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
