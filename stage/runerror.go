package stage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/emulate"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage/snapshot"
)

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
		more := "give the build more memory (a pod: resources.limits.memory)"
		if exit.OOM.Asked {
			more = "raise the limit (--memory)"
		}
		e.Remedy = more + ", or let the step use less (fewer parallel jobs)\n" + e.Remedy
	case exit.Signal != 0 && exit.OOMUnknown:
		e.Err = fmt.Errorf("the command was killed by signal %d (exit code %d); %s", exit.Signal, exit.Code, sandbox.UnknownKill)
		e.Remedy = sandbox.WantOfMemory + "\n" + e.Remedy
	case exit.Code == killed && exit.OOMUnknown:
		e.Err = fmt.Errorf("the command ended with exit code %d: a process of it was killed; %s", exit.Code, sandbox.UnknownKill)
		e.Remedy = sandbox.WantOfMemory + "\n" + e.Remedy
	case exit.Signal != 0:
		e.Err = fmt.Errorf("the command was killed by signal %d (exit code %d); not by the kernel's out-of-memory killer, as far as its cgroup tells", exit.Signal, exit.Code)
	default:
		e.Err = fmt.Errorf("the command ended with exit code %d", exit.Code)
	}
	if exit.IDs != nil && len(exit.IDs.Refusals) > 0 {
		wantOfIDs(e, exit.IDs.Refusals)
	}
	return e
}

// killed is the exit code by which a shell tells that a program of it got SIGKILL.
const killed = 128 + 9

// wantOfIDs adds to the error of a command what it was refused because only one id
// is mapped: that needn't be the cause, but it is told by the kernel, not guessed.
func wantOfIDs(e *fault.Error, refusals []emulate.Refusal) {
	e.Err = fmt.Errorf("%w; there is a single id here, so that these were refused: %s", e.Err, callsOf(refusals))
	remedy := sandbox.EmulateRemedy
	if m, err := userns.Current(); err == nil && m.Notice != nil && m.Notice.Remedy != "" {
		remedy = m.Notice.Remedy + "\nor " + remedy
	}
	e.Remedy = remedy + "\n" + e.Remedy
}

// otherOwners tells of a command that got over it that files can't have the owners
// which it gave them, "" of any other: a range of ids would have made another layer.
func otherOwners(seen *emulate.Seen) string {
	if seen == nil {
		return ""
	}
	refusals := slices.DeleteFunc(slices.Clone(seen.Refusals), func(r emulate.Refusal) bool { return r.Call != "chown" })
	if len(refusals) == 0 {
		return ""
	}
	return fmt.Sprintf("files keep another owner than the command gave them: there is a single id here, so that these were refused: %s (--emulate-ids answers such calls)",
		callsOf(refusals))
}

// callsOf lists calls, each once.
func callsOf(refusals []emulate.Refusal) string {
	var calls []string
	for _, r := range refusals {
		call := fmt.Sprintf("%s to %d by %s", r.Call, r.ID, r.Program)
		if r.Groups {
			call = fmt.Sprintf("%s by %s", r.Call, r.Program)
		}
		if !slices.Contains(calls, call) {
			calls = append(calls, call)
		}
	}
	return strings.Join(calls, ", ")
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
