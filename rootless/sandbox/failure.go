package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// Exit codes for a program that couldn't be started, as a shell has them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// failure is why a runtime didn't start the program.
type failure struct {
	code    int
	message string
}

// failure gives what the runtime complained of, nil where the program ran.
func (b *bundle) failure(code int) *failure {
	if code == 0 {
		return nil
	}
	message := lastError(b.path("log"))
	if message == "" {
		return nil
	}
	return &failure{code: classify(message), message: message}
}

// lastError reads the last error from a runtime's log; warnings are passed
// over.
func lastError(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	message := ""
	for line := range strings.Lines(string(data)) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "error" {
			message = entry.Msg
		}
	}
	return message
}

// classify finds the exit code that a shell would have given.
func classify(message string) int {
	text := strings.ToLower(message)
	if !strings.Contains(text, "exec") {
		return fault.CodeOwn
	}
	switch {
	case strings.Contains(text, "no such file") || strings.Contains(text, "not found"):
		return codeNotFound
	case strings.Contains(text, "permission denied") || strings.Contains(text, "exec format") ||
		strings.Contains(text, "is a directory"):
		return codeNotExecutable
	}
	return fault.CodeOwn
}

// fault makes the user's error of it.
func (f *failure) fault(rt Runtime, s Spec) error {
	e := &fault.Error{Code: f.code, Err: fmt.Errorf("%s: %s", rt.Name, f.message)}
	switch f.code {
	case codeNotFound:
		e.Err = fmt.Errorf("%q can't be run, it isn't there: %w", s.Args[0], e.Err)
		e.Remedy = "check the name and the image's PATH; a script's first line must name an interpreter that the image has"
	case codeNotExecutable:
		e.Err = fmt.Errorf("%q can't be run, it isn't executable: %w", s.Args[0], e.Err)
		e.Remedy = "make it executable (COPY --chmod=755), or check that it is built for this machine"
	}
	return e
}
