// Package chroot is the OCI runtime that builder has in itself, for machines
// without another: chroot isolation. Package sandbox starts this program by
// [Name] and speaks to it as to crun or runc: a bundle with a config.json, a file
// for the process id, a log for errors, a socket for the terminal, a pipe at which
// a created program waits.
//
// There are three processes. The first, called the keeper, is what sandbox starts;
// it makes the namespaces and the second. That, called the child, makes the mounts,
// changes the root, gives up what the program may not have, and becomes the third,
// the program. It tells the keeper of errors through a socket that exec closes. The
// keeper of "run" waits for the program and has its exit code; that of "create" and
// "exec" ends when the program is made.
//
// Where no mount namespace may be made ([PlainAnnotation]) there is chroot alone:
// see plain.go for what is had without mounts.
package chroot

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	rspec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/builder-oci/builder/internal/fault"
)

// Name is what this program is to be called by (argv[0]) to be the runtime.
const Name = "builder-chroot"

// PlainAnnotation in a config.json says that no namespace may be made.
const PlainAnnotation = "builder.plain"

// codeFailed is the exit code of a failure of the runtime's own.
const codeFailed = 1

// invocation is the command line, which is that of crun and runc.
type invocation struct {
	args             []string
	root, log        string // global options
	command          string
	bundle, pidFile  string
	console, process string
	noPivot          bool
	id               string
	spec             *rspec.Spec
	plain            bool
	program          *rspec.Process // what is to run
	joined           int            // the process whose mount namespace "exec" enters
	wait             bool           // "create": the program waits to be started
	leftAlone        bool           // "create" and "exec": the keeper ends before the program
}

// Main runs the command line after argv[0], and gives the exit code.
func Main(args []string) int {
	if len(args) > 0 && args[0] == childCommand {
		childMain(args[1:])
		return codeFailed // the keeper, or who reads the program's standard error, has the reason
	}
	in, err := parse(args)
	if err == nil {
		var code int
		if code, err = in.keep(); err == nil {
			return code
		}
	}
	in.complain(err)
	return codeFailed
}

// parse reads a command line as sandbox writes it.
func parse(args []string) (in *invocation, err error) {
	in = &invocation{args: args}
	global := flag.NewFlagSet(Name, flag.ContinueOnError)
	global.SetOutput(io.Discard)
	global.StringVar(&in.root, "root", "", "")
	global.StringVar(&in.log, "log", "", "")
	global.String("log-format", "json", "")
	if err := global.Parse(args); err != nil {
		return in, err
	}
	if global.NArg() == 0 {
		return in, errors.New("no command")
	}
	in.command = global.Arg(0)
	local := flag.NewFlagSet(in.command, flag.ContinueOnError)
	local.SetOutput(io.Discard)
	local.StringVar(&in.bundle, "bundle", "", "")
	local.StringVar(&in.pidFile, "pid-file", "", "")
	local.StringVar(&in.console, "console-socket", "", "")
	local.StringVar(&in.process, "process", "", "")
	local.BoolVar(&in.noPivot, "no-pivot", false, "")
	local.Bool("detach", false, "")
	if err := local.Parse(global.Args()[1:]); err != nil {
		return in, err
	}
	in.id = local.Arg(0)
	if in.id == "" {
		return in, errors.New("no id")
	}
	return in, in.load()
}

// load reads what is to be run.
func (in *invocation) load() error {
	switch in.command {
	case "run":
	case "create":
		in.wait, in.leftAlone = true, true
	case "exec":
		in.leftAlone = true
		return in.loadExec()
	default:
		return fmt.Errorf("unknown command %q", in.command)
	}
	return in.loadBundle()
}

func (in *invocation) loadBundle() error {
	in.spec = &rspec.Spec{}
	if err := readJSON(filepath.Join(in.bundle, "config.json"), in.spec); err != nil {
		return err
	}
	if in.spec.Process == nil || in.spec.Root == nil || in.spec.Linux == nil || len(in.spec.Process.Args) == 0 {
		return errors.New("config.json says too little")
	}
	in.program = in.spec.Process
	in.plain = in.spec.Annotations[PlainAnnotation] != ""
	return nil
}

// state is what "create" leaves for "exec".
type state struct {
	PID    int    `json:"pid"`
	Bundle string `json:"bundle"`
}

func (in *invocation) statePath(name string) string { return filepath.Join(in.root, in.id, name) }

func (in *invocation) writeState(pid int) error {
	data, err := json.Marshal(state{pid, in.bundle})
	if err != nil {
		return err
	}
	return os.WriteFile(in.statePath("state.json"), data, 0o600)
}

// loadExec reads the program of "exec", and the sandbox's own for its filter.
func (in *invocation) loadExec() error {
	var of state
	if err := readJSON(in.statePath("state.json"), &of); err != nil {
		return err
	}
	in.bundle, in.joined = of.Bundle, of.PID
	if err := in.loadBundle(); err != nil {
		return err
	}
	in.program = &rspec.Process{}
	return readJSON(in.process, in.program)
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// complaint is an error as it goes from the child to the keeper, and into the log.
type complaint struct {
	Level  string `json:"level"`
	Msg    string `json:"msg"`
	Remedy string `json:"remedy,omitempty"`
}

func complaintOf(err error) complaint {
	return complaint{"error", err.Error(), fault.Remedy(err)}
}

// complain writes an error into the log, in the form of other runtimes.
func (in *invocation) complain(err error) {
	line, merr := json.Marshal(complaintOf(err))
	if merr != nil || in.log == "" {
		return
	}
	f, oerr := os.OpenFile(in.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if oerr != nil {
		return
	}
	_, _ = f.Write(append(line, '\n'))
	_ = f.Close()
}
