package tests

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should come at once.
const patience = 30 * time.Second

// terminal is a terminal with one program on it. It shows what a user would
// see.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu      sync.Mutex
	screen  vt10x.Terminal
	written bytes.Buffer
	read    chan struct{}
}

// newTerminal starts cmd on a terminal of so many columns and rows, as its
// foreground job.
func newTerminal(t *testing.T, cmd *exec.Cmd, cols, rows int) *terminal {
	t.Helper()
	master, slave := openPTY(t)
	term := &terminal{
		t: t, master: master, cmd: cmd,
		screen: vt10x.New(vt10x.WithSize(cols, rows)), read: make(chan struct{}),
	}
	term.setSize(cols, rows)
	// The emulator cuts lines when it becomes narrower, as xterm does.
	cmd.Env = append([]string{"TERM=xterm-256color", "XTERM_VERSION=XTerm(0)"}, cmd.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	go term.show()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = master.Close()
		<-term.read
		if t.Failed() {
			t.Logf("the screen:\n%s", term.text())
		}
	})
	return term
}

func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "terminal")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func (term *terminal) show() {
	defer close(term.read)
	buffer := make([]byte, 1<<16)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		_, _ = term.screen.Write(buffer[:n])
		term.written.Write(buffer[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// setSize is what a user does who pulls at the window's edge.
func (term *terminal) setSize(cols, rows int) {
	raw, err := term.master.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	term.mu.Lock()
	term.screen.Resize(cols, rows)
	term.mu.Unlock()
	if err := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(cols), Row: uint16(rows)})
	}); err != nil {
		term.t.Fatal(err)
	}
}

// types is what a user does at the keyboard.
func (term *terminal) types(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// text is what stands on the screen, without blanks at the ends.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(term.screen.String(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// shows waits until all of the texts stand on the screen, and gives it.
func (term *terminal) shows(texts ...string) string {
	term.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		screen, missing := term.text(), ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		if missing == "" {
			return screen
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("the terminal doesn't show %q:\n%s", missing, screen)
		}
	}
}

// ends waits for the program and gives its exit code. The screen is complete
// then, and the cursor is shown at the beginning of a line.
func (term *terminal) ends() int {
	term.t.Helper()
	_ = term.cmd.Wait()
	<-term.read
	if !term.screen.CursorVisible() {
		term.t.Error("the cursor is hidden at the end")
	}
	if c := term.screen.Cursor(); c.X != 0 {
		term.t.Errorf("the cursor is in column %d at the end", c.X)
	}
	return term.cmd.ProcessState.ExitCode()
}

// gate holds up steps of a build: a RUN that has the host's network and calls
// `nc 127.0.0.1 $GATE` waits until it is let pass.
type gate struct {
	t *testing.T
	l net.Listener
}

func newGate(t *testing.T) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &gate{t, l}
}

// arg is the argument of the build, of that name, by which a step finds it.
func (g *gate) arg(name string) string {
	return fmt.Sprintf("--build-arg=%s=%d", name, g.l.Addr().(*net.TCPAddr).Port)
}

// arrives waits for a step, and gives the function that lets it pass.
func (g *gate) arrives() (pass func()) {
	g.t.Helper()
	if err := g.l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	conn, err := g.l.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return func() { _ = conn.Close() }
}

// newContext gives a build context with a Dockerfile, in a store of its own.
func newContext(t *testing.T, dockerfile string) (*state, string) {
	t.Helper()
	s, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.importBase("busybox"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.dir, "context")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	return s, dir
}
