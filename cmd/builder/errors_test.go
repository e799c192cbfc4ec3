package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestReportPrintsPlaceCauseDetailAndRemedy(t *testing.T) {
	failed := &fault.Error{
		Place: "Dockerfile:2: RUN make", Err: errors.New("the command ended with exit code 2"),
		Detail: []string{"cc: not found", "make: *** [all] Error 127"},
		Remedy: "the whole output: /log\ninstall a compiler", Code: 2,
	}
	const want = `builder: Dockerfile:2: RUN make: the command ended with exit code 2
    cc: not found
    make: *** [all] Error 127
  the whole output: /log
  install a compiler
`
	var out bytes.Buffer
	if code := report(context.Background(), &out, fmt.Errorf("%w", failed)); code != 2 {
		t.Errorf("the exit code is %d, not the command's 2", code)
	}
	if out.String() != want {
		t.Errorf("printed:\n%s\nnot:\n%s", &out, want)
	}
}

func TestReportGivesExitCodes(t *testing.T) {
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(stopped{syscall.SIGINT})
	terminated, cancel := context.WithCancelCause(context.Background())
	cancel(stopped{syscall.SIGTERM})
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		code int
		line string // the first that is printed
	}{
		{"no error", context.Background(), nil, 0, ""},
		{"any error", context.Background(), errors.New("x"), 125, "builder: x"},
		{"a program's own code", context.Background(), exitStatus(42), 42, ""},
		{"a program's own code, in company", context.Background(), errors.Join(nil, exitStatus(42)), 42, ""},
		{"a program's own code, and what failed after it", context.Background(), errors.Join(exitStatus(42), errors.New("x")), 42, "builder: x"},
		{"an error of two causes", context.Background(), fmt.Errorf("a %w, b %w", errors.New("x"), errors.New("y")), 125, "builder: a x, b y"},
		{"SIGINT", interrupted, fmt.Errorf("copying: %w", context.Canceled), 130, "builder: interrupted"},
		{"SIGTERM", terminated, errors.New("whatever came of it"), 143, "builder: ended by signal terminated"},
		{"a signal that was passed on", interrupted, exitStatus(7), 7, ""},
		{"a signal that came too late", interrupted, nil, 0, ""},
		{"nobody reads", context.Background(), fmt.Errorf("printing: %w", errUnread), 141, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := report(test.ctx, &out, test.err); code != test.code {
				t.Errorf("the exit code is %d, not %d", code, test.code)
			}
			if line, _, _ := strings.Cut(out.String(), "\n"); line != test.line {
				t.Errorf("printed %q, not %q", line, test.line)
			}
		})
	}
}

func TestReportKnowsARemedyForAFullDisk(t *testing.T) {
	var out bytes.Buffer
	full := fault.At("Dockerfile:2: COPY . /", &os.PathError{Op: "write", Path: "/store/x", Err: syscall.ENOSPC})
	if code := report(context.Background(), &out, full); code != fault.CodeOwn {
		t.Errorf("the exit code is %d", code)
	}
	for _, want := range []string{"Dockerfile:2: COPY . /: write /store/x: no space left on device", "df -h", "builder rmi"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in:\n%s", want, &out)
		}
	}
}

func TestResultsTellAClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := (results{w}).Write([]byte("x")); !errors.Is(err, errUnread) {
		t.Errorf("writing to a closed pipe gave %v", err)
	}
}
