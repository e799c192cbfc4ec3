package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// Exit codes for a program that couldn't be started, as a shell has them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// codeRuntime is a runtime's own failure.
const codeRuntime = 1

// ErrRuntime marks errors of which the runtime may be the cause: it started
// nothing, and not because of the command.
var ErrRuntime = errors.New("the runtime failed")

// runtimeError is one of those.
type runtimeError struct{ error }

func (runtimeError) Is(target error) bool { return target == ErrRuntime }
func (e runtimeError) Unwrap() error      { return e.error }

// failure is why a runtime didn't start the program.
type failure struct {
	code    int
	message string
	// remedy, where set, belongs to a message that says all.
	remedy string
}

// failure gives what the runtime complained of, nil where the program ran.
func (b *bundle) failure(code int, command string) *failure {
	if code == 0 {
		return nil
	}
	last := lastError(b.path("log"))
	if last.Msg == "" {
		return nil
	}
	f := &failure{code: classify(last.Msg, command), message: last.Msg, remedy: last.Remedy}
	if f.remedy != "" {
		f.code = fault.CodeOwn
	}
	return f
}

// lastError reads the last error from a runtime's log; warnings are passed
// over. builder's own runtime knows remedies.
func lastError(path string) (last logEntry) {
	data, err := os.ReadFile(path)
	if err != nil {
		return last
	}
	for line := range strings.Lines(string(data)) {
		var entry logEntry
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "error" {
			last = entry
		}
	}
	return last
}

type logEntry struct{ Level, Msg, Remedy string }

// classify finds the exit code that a shell would have given for the command.
func classify(message, command string) int {
	text := strings.ToLower(message)
	if !containsAny(text, "executable", "exec ", "exec:", "chdir", "`"+strings.ToLower(command)+"`") {
		return fault.CodeOwn
	}
	switch {
	case containsAny(text, "no such file", "not found"):
		return codeNotFound
	case containsAny(text, "permission denied", "not permitted", "is a directory", "not a directory", "exec format"):
		return codeNotExecutable
	}
	return fault.CodeOwn
}

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// fault makes the user's error of it.
func (f *failure) fault(rt Runtime, s Spec) error {
	if f.remedy != "" {
		return &fault.Error{Code: f.code, Err: errors.New(f.message), Remedy: f.remedy}
	}
	e := &fault.Error{Code: f.code, Err: fmt.Errorf("%s: %s", rt.Name, f.message)}
	switch f.code {
	case codeNotFound:
		e.Err = fmt.Errorf("%q can't be run, something isn't there: %s", s.Args[0], f.message)
		e.Remedy = "check the command's name and the image's PATH"
		if strings.Contains(f.message, "chdir") {
			e.Remedy = fmt.Sprintf("check the working directory %q", s.Cwd)
		}
	case codeNotExecutable:
		e.Err = fmt.Errorf("%q can't be run, it isn't executable: %s", s.Args[0], f.message)
		e.Remedy = "give it the right to be executed (COPY --chmod=755), and build it for this machine"
		if strings.Contains(f.message, "chdir") {
			e.Err = fmt.Errorf("%q can't be run there: %s", s.Args[0], f.message)
			e.Remedy = fmt.Sprintf("check the working directory %q", s.Cwd)
		}
	default:
		if why := badPlace(s); why != "" {
			e.Err = fmt.Errorf("%s, and what the sandbox has there can't be mounted: %s", why, e.Err)
			e.Remedy = "choose another image, or replace that in it by an empty directory or file"
		}
		e.Err = runtimeError{e.Err}
	}
	return e
}
