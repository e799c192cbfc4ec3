package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/internal/room"
)

// exitStatus ends the process with this code and without a word: whoever
// failed has said what there is to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// stopped is why the commands' context ended: a signal came.
type stopped struct{ signal syscall.Signal }

func (s stopped) Error() string {
	if s.signal == syscall.SIGINT {
		return "interrupted"
	}
	return "ended by signal " + s.signal.String()
}

// errUnread says that nobody reads the standard output any more (`| head`),
// which is nothing to complain about.
var errUnread = errors.New("the standard output is closed")

// results is the standard output, less its broken pipes: those are errUnread,
// so that they aren't taken for a registry's.
type results struct{ io.Writer }

func (r results) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errUnread
	}
	return n, err
}

// report prints the error that ended a command, and gives the process's exit
// code. It is the one place where an error meets the user:
//
//	builder: PLACE: cause
//	    the lines that tell more
//	  the remedy
func report(ctx context.Context, w io.Writer, err error) int {
	status, err := splitStatus(err)
	if err == nil {
		return int(status)
	}
	var by stopped
	if errors.As(context.Cause(ctx), &by) {
		// What fails after that fails for that.
		_, _ = fmt.Fprintf(w, "%s: %s\n", programName, by)
		return 128 + int(by.signal)
	}
	if errors.Is(err, errUnread) {
		return 128 + int(syscall.SIGPIPE)
	}
	err = namingDoctor(explain(err))
	_, _ = io.WriteString(w, render(err))
	if status != 0 {
		return int(status)
	}
	return fault.Code(err)
}

// splitStatus takes the exit status out of errors that were joined.
func splitStatus(err error) (exitStatus, error) {
	switch err := err.(type) {
	case exitStatus:
		return err, nil
	case interface{ Unwrap() []error }:
		var status exitStatus
		var rest []error
		for _, e := range err.Unwrap() {
			s, other := splitStatus(e)
			status = max(status, s)
			rest = append(rest, other)
		}
		if status != 0 { // else it may be more than a mere list
			return status, errors.Join(rest...)
		}
	}
	return 0, err
}

// render gives an error's lines.
func render(err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", programName, printable(strings.TrimSpace(err.Error())))
	for _, line := range fault.Detail(err) {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	if remedy := strings.TrimSpace(fault.Remedy(err)); remedy != "" {
		for line := range strings.SplitSeq(printable(remedy), "\n") {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// printable takes from a text what would steer the terminal: it may quote what a
// stranger wrote.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// explain gives a remedy to causes that come from anywhere.
func explain(err error) error {
	if err = byDisk(byClock(byAuthorities(err))); err == nil || fault.Remedy(err) != "" {
		return err
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return remedied(err, "df -h; df -i    # tell which disk is full, of bytes or of files\n"+room.PruneCache+"\n"+room.RemoveImage)
	case errors.Is(err, syscall.EDQUOT):
		return remedied(err, "quota    # tells what the user may use\n"+room.PruneCache+"\n"+room.RemoveImage)
	case errors.As(err, new(*removal.Foreign)):
		return withoutIDs(err)
	case errors.Is(err, syscall.EMFILE):
		return remedied(err, "ulimit -n 4096    # allows more open files")
	}
	return err
}

// remedied adds a remedy and keeps all else that err carries.
func remedied(err error, remedy string) error {
	return &fault.Error{Err: err, Remedy: remedy, Code: fault.Code(err), Detail: fault.Detail(err), Machine: fault.OfMachine(err)}
}

// usageError is a command line that can't be understood.
func usageError(command, format string, args ...any) error {
	return fault.New(fmt.Sprintf("%s --help    # tells what it takes", command), format, args...)
}

// unknownFlag tells of the one of names that was perhaps meant.
func unknownFlag(command, flag string, names []string) error {
	remedy := command + " --help    # lists them"
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "--") })
	if meant := nearest(flag, names); meant != "" {
		remedy = fmt.Sprintf("did you mean %s?\n%s", meant, remedy)
	}
	if !strings.HasPrefix(flag, "--") {
		return fault.New(remedy, "unknown shorthand flag in %s", flag)
	}
	return fault.New(remedy, "unknown flag: %s", flag)
}

// unknownCommand tells of the one of commands that was perhaps meant.
func unknownCommand(parent, name string, commands []*cli.Command) error {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	remedy := parent + " --help    # lists them"
	if meant := nearest(name, names); meant != "" {
		remedy = fmt.Sprintf("did you mean %s %s?\n%s", parent, meant, remedy)
	}
	return fault.New(remedy, "unknown command: %s %s", parent, name)
}

// nearest gives the name that word was perhaps meant to be, or "".
func nearest(word string, names []string) string {
	// Boost and prefix are those of urfave/cli's own suggestions; what is less
	// alike than this was hardly meant.
	const boost, prefix, alike = 0.7, 4, 0.8
	word = strings.TrimLeft(word, "-")
	likeness := func(name string) float64 {
		return smetrics.JaroWinkler(word, strings.TrimLeft(name, "-"), boost, prefix)
	}
	if word == "" || len(names) == 0 {
		return ""
	}
	best := slices.MaxFunc(names, func(a, b string) int {
		if likeness(a) < likeness(b) {
			return -1
		}
		return 1
	})
	if likeness(best) < alike {
		return ""
	}
	return best
}

// needSome tells that a command which takes any number of things was given none.
func needSome(c *cli.Context, what string) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs at least one %s", c.Command.HelpName, what)
	}
	return nil
}

// argument gives the only argument of a command.
func argument(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		return "", usageError(c.Command.HelpName, "%s takes exactly one argument: %s", c.Command.HelpName, what)
	}
	return c.Args().First(), nil
}

// coded gives a command's errors the exit code that docker's have where no
// container is run: 1.
func coded(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		err := action(c)
		var status exitStatus
		var known *fault.Error
		if err == nil || errors.As(err, &status) || errors.Is(err, errUnread) || errors.As(err, &known) && known.Code != 0 {
			return err
		}
		return &fault.Error{Err: err, Remedy: fault.Remedy(err), Code: 1, Detail: fault.Detail(err)}
	}
}
