// Package userns makes the process root of a user namespace: it starts the
// program once more in new user, mount and pid namespaces, where it is root of
// its own ids and may mount, and on the machine is still the caller and his
// subordinate ids.
//
// The process that the user started is called the outer one, the one in the
// namespace the inner one. main begins with
//
//	if userns.Inside() {
//		if err := userns.Setup(); err != nil { … }
//	}
//
// and a command that touches file systems calls Enter when it isn't Inside.
// Enter passes signals on and gives the exit code. The inner process is pid 1
// of its pid namespace, so that whichever of the two dies, by kill -9 too,
// takes everything with it that runs beneath.
//
// What goes to the inner process as a signal must be handled there
// (signal.NotifyContext): as pid 1 it has no default actions, and Go ends it
// with code 2 in their place.
package userns

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// Options change what Enter starts.
type Options struct {
	Single bool     // map a single id, though there may be ranges
	KeepID bool     // let the caller have his own ids inside
	Args   []string // the inner process's argv; nil stands for this one's
	Env    []string // added to the environment
	Join   int      // a process in whose user namespace the inner one is to be; 0 for a new one
	// Plain says whether the inner process is started without a user namespace
	// where there can be none.
	Plain Plain
	Files []*os.File // of Start: the inner process has them from FirstFile on
	// Stdin and Stdout are, for Enter, the inner process's; nil stands for this one's.
	Stdin, Stdout *os.File
}

// FirstFile is the descriptor of the first of Options.Files in the inner process.
const FirstFile = 4

// Enter runs this program again as root of a user namespace and gives its exit
// code, 128+n where signal n killed it. It returns when the inner process has
// ended, never before; err is a *fault.Error that says why there is none.
//
// Meanwhile the caller must not handle signals itself: Enter passes INT, TERM,
// HUP, QUIT, USR1, USR2, WINCH and CONT on, and stops and continues with the
// terminal. The end of ctx without any of these is passed on as TERM. All file
// descriptors from 3 on become close-on-exec.
func Enter(ctx context.Context, opts Options) (exitCode int, err error) {
	o := outer{join: opts.Join, args: opts.Args, env: opts.Env, stdin: opts.Stdin, stdout: opts.Stdout}
	return exitCode, opts.stepDown(&o, func() error {
		exitCode, err = o.run(ctx)
		return err
	})
}

// Start is Enter for a process that outlives this one: it has a session and,
// where it can, a pid namespace of its own, and signals aren't passed on. Its
// standard input is empty, the other two are this process's, until it takes
// others.
func Start(ctx context.Context, opts Options) error {
	o := outer{join: opts.Join, args: opts.Args, env: opts.Env, files: opts.Files, detached: true}
	return opts.stepDown(&o, func() error { return o.launch(ctx) })
}

// What the outer process tells the inner one in its environment.
const (
	privatePrefix = "_BUILDER_USERNS"
	envInside     = privatePrefix          // "1"
	envMapping    = privatePrefix + "_MAP" // a Mapping as JSON
	envPID        = privatePrefix + "_PID" // "1": pid 1 of a pid namespace
	envStepDown   = privatePrefix + "_STEP_DOWN"
	envMounts     = privatePrefix + "_MOUNTS"   // "1": a mount namespace of its own
	envDetached   = privatePrefix + "_DETACHED" // "1": outlives the outer process
	envJoined     = privatePrefix + "_JOINED"   // "1": started by the inner process, see Joining
	envRelay      = privatePrefix + "_RELAY"    // how many files the relay is to pass on, and argv[0]
)

// Inside tells whether this process was started by Enter.
func Inside() bool { return os.Getenv(envInside) == "1" }

// Current gives the mapping of the namespace that Enter made for this process.
func Current() (Mapping, error) {
	if !Inside() {
		return Mapping{}, errors.New("not in a user namespace of builder's")
	}
	var c carried
	if err := json.Unmarshal([]byte(os.Getenv(envMapping)), &c); err != nil {
		return Mapping{}, fault.New("", "reading the id mapping from %s: %w", envMapping, err)
	}
	return c.mapping(), nil
}

// PIDNamespace tells, inside, whether this process is pid 1 of a pid namespace
// of its own that /proc shows.
func PIDNamespace() bool { return Inside() && os.Getenv(envPID) == "1" }

// detached tells, inside, whether this process was started by Start.
func detached() bool { return os.Getenv(envDetached) == "1" }

// StepDown says, inside, in one line why there is no pid namespace; "" where
// there is one.
func StepDown() string { return os.Getenv(envStepDown) }

// Joining gives the environment for a program of builder's that this process
// starts inside: it is root here, too, and its Setup has nothing to do.
func Joining() []string {
	var env []string
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); name != envDetached && name != envPID {
			env = append(env, variable)
		}
	}
	return append(env, envJoined+"=1")
}

// Environ gives the environment without what is meant for this process alone:
// a program of someone else's, which may start builder again, gets this one.
func Environ() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, privatePrefix) {
			env = append(env, variable)
		}
	}
	return env
}
