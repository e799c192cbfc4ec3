package userns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// The test binary is also the program under test. "enter SCENE ARG…" is the
// outer process of "scene SCENE ARG…", the inner one; "unshare CMD…" is both
// sides of Unshare, and "plain SCENE ARG…" plays a scene outside.
func TestMain(m *testing.M) {
	if Inside() {
		runtime.LockOSThread() // whose parent-death signal a scene looks at
		if err := Setup(); err != nil {
			complain(err)
		}
	}
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "enter":
		enter(context.Background(), Options{}, os.Args[2:])
	case "enter-single":
		enter(context.Background(), Options{Single: true}, os.Args[2:])
	case "enter-keep-id":
		enter(context.Background(), Options{KeepID: true}, os.Args[2:])
	case "enter-joined":
		pid, err := strconv.Atoi(os.Args[2])
		if err != nil {
			complain(err)
		}
		enter(context.Background(), Options{Join: pid}, os.Args[3:])
	case "enter-until-eof":
		enter(untilEOF(), Options{}, os.Args[2:])
	case "unshare":
		code, err := Unshare(context.Background(), os.Args[2:], "BUILDER_TEST_EXTRA=given")
		if err != nil {
			complain(err)
		}
		os.Exit(code)
	case "scene", "plain":
		os.Exit(scenes(os.Args[2])(os.Args[3:]))
	}
	os.Exit(m.Run())
}

// enter plays a scene in a user namespace and exits as it does.
func enter(ctx context.Context, opts Options, scene []string) {
	opts.Args = append([]string{os.Args[0], "scene"}, scene...)
	opts.Env = []string{"BUILDER_TEST_EXTRA=given"}
	code, err := Enter(ctx, opts)
	if err != nil {
		complain(err)
	}
	os.Exit(code)
}

// untilEOF gives a context that ends with standard input.
func untilEOF() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func complain(err error) {
	fmt.Printf("error: %v\nremedy: %s\n", err, fault.Remedy(err))
	os.Exit(fault.Code(err))
}

// needsUser skips where root has no subordinate ids; everywhere else these
// tests must work.
func needsUser(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || !doctor.InitialNamespace() {
		return
	}
	if _, err := Detect(); err != nil {
		t.Skip("root without subordinate ids enters no user namespace: run these tests as an ordinary user (go test -c -o /tmp/userns.test ./rootless/userns && sudo -u USER /tmp/userns.test)")
	}
}

// outerProcess is this test binary as a command of its own.
type outerProcess struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	lines *bufio.Reader
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// play runs args to the end.
func play(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	needsUser(t)
	out, err := command(t, args...).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out), codeOf(err)
}

// start runs args while the test goes on.
func start(t *testing.T, args ...string) *outerProcess {
	t.Helper()
	needsUser(t)
	p := &outerProcess{Cmd: command(t, args...), t: t}
	p.begin()
	return p
}

func (p *outerProcess) begin() {
	p.t.Helper()
	stdout, err := p.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	p.Stderr = os.Stderr
	p.lines = bufio.NewReader(stdout)
	if err := p.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// expect reads the next line of output, which must be want.
func (p *outerProcess) expect(want string) {
	p.t.Helper()
	if line, err := p.lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		p.t.Fatalf("got %q (%v), want %q", line, err, want)
	}
}

func (p *outerProcess) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *outerProcess) wantExit(want int) {
	p.t.Helper()
	if got := codeOf(p.Wait()); got != want {
		p.t.Errorf("exit code %d, want %d", got, want)
	}
}

// codeOf is the code of a command's end, 128+n for a signal's.
func codeOf(err error) int {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return 0
	}
	return exitStatus(exit.ProcessState)
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// named gives the processes that have arg among their arguments, and all of
// words besides.
func named(arg string, words ...string) []int {
	var pids []int
	for pid, p := range processes() {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		args := strings.Split(string(data), "\x00")
		missing := slices.ContainsFunc(append(words, arg), func(w string) bool { return !slices.Contains(args, w) })
		if err == nil && p.state != zombie && !missing {
			pids = append(pids, pid)
		}
	}
	return pids
}

// token is a word that no other process has among its arguments.
func token(t *testing.T) string {
	return fmt.Sprintf("%s-%d-%d", t.Name(), os.Getpid(), time.Now().UnixNano())
}

// stopped tells whether process pid is.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") T ")
}
