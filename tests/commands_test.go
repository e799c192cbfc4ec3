package tests

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what scripts have beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"archive":     archive,
	"base":        base,
	"capture":     capture,
	"cosign":      cosign,
	"diagnosed":   diagnosed,
	"equal":       equal,
	"expand":      expand,
	"freeport":    freePort,
	"hostile":     hostileRegistry,
	"monitor":     monitor,
	"peak":        peak,
	"platforms":   platforms,
	"pushall":     pushAll,
	"quiet":       quiet,
	"registry":    registry,
	"sshserver":   sshserver,
	"status":      status,
	"until":       until,
	"webserver":   webserver,
	"proxyserver": proxyserver,
}

// base NAME... imports base images: busybox, debian, nginx.
func base(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: base NAME...")
	}
	for _, name := range args {
		ts.Check(stateOf(ts).importBase(name))
	}
}

// capture VAR [REGEXP] keeps what the last command printed on its standard
// output in an environment variable: all of it, or the expression's group.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: capture VAR [REGEXP]")
	}
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		expression, err := regexp.Compile("(?m)" + args[1])
		ts.Check(err)
		groups := expression.FindStringSubmatch(value)
		if len(groups) != 2 {
			ts.Fatalf("no match for %s", args[1])
		}
		value = groups[1]
	}
	if value == "" {
		ts.Fatalf("nothing to capture")
	}
	ts.Setenv(args[0], value)
}

// [!] equal A B compares two words, after their variables are expanded.
func equal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] equal A B")
	}
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}

// expand FILE COPY copies a file with its variables expanded.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: expand FILE COPY")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// freeport VAR names a TCP port of the loopback that nobody listens on.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VAR")
	}
	port, err := unusedPort()
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(port))
}

func unusedPort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// quiet says that nothing of this script's builder is running, and that the
// store has no live session.
func quiet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: quiet")
	}
	ts.Check(stateOf(ts).quiet())
}

// registry [private] starts a registry on the loopback, empty, and puts its
// address into REGISTRY, and into REQUESTS the file in which it has a line for each
// request. A private one knows the account reader:secret. It ends with the script.
func registry(ts *testscript.TestScript, neg bool, args []string) {
	private := len(args) == 1 && args[0] == "private"
	if neg || len(args) > 0 && !private {
		ts.Fatalf("usage: registry [private]")
	}
	address, requests, stop, err := startLoggedRegistry(private)
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("REGISTRY", address)
	ts.Setenv("REQUESTS", requests)
}

// status CODE COMMAND... runs a command that has to end with that exit code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// peak MIB CODE COMMAND... is status for a command that takes two minutes at
// most, and so much memory.
func peak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: peak MIB CODE COMMAND...")
	}
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	status(ts, false, append([]string{args[1], "timeout", "120", "/usr/bin/time", "-q", "-f", "%M", "-o", "peak"}, args[2:]...))
	used, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile("peak")))
	ts.Check(err)
	if used > limit<<10 {
		ts.Fatalf("%d KiB of memory were used, more than %d MiB", used, limit)
	}
}

// until COMMAND... repeats a command until it succeeds, for ten seconds.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("not within ten seconds: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func stateOf(ts *testscript.TestScript) *state {
	return ts.Value(stateKey{}).(*state)
}
