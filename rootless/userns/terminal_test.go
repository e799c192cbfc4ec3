package userns

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is an interactive shell on a terminal, at which a test types.
type terminal struct {
	t      *testing.T
	master *os.File

	mu     sync.Mutex
	output string // what has been shown and not yet expected
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	needsUser(t)
	master, slave := openPTY(t)
	shell := exec.CommandContext(t.Context(), "/bin/sh", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "ENV=", "BIN="+exe(t))
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	term := &terminal{t: t, master: master}
	finished := make(chan struct{})
	go term.read(finished)
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
		_ = master.Close()
		<-finished
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
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func (term *terminal) read(finished chan<- struct{}) {
	defer close(finished)
	buffer := make([]byte, 4096)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		term.output += string(buffer[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (term *terminal) types(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// shows waits until text has appeared.
func (term *terminal) shows(text string) {
	term.t.Helper()
	term.t.Cleanup(func() {
		if term.t.Failed() {
			term.mu.Lock()
			defer term.mu.Unlock()
			term.t.Logf("waiting for %q, left: %q", text, term.output)
		}
	})
	eventually(term.t, fmt.Sprintf("the terminal shows %q", text), func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		_, rest, found := strings.Cut(term.output, text)
		if found {
			term.output = rest
		}
		return found
	})
}

// foreground gives the process group that has the terminal.
func (term *terminal) foreground() int {
	raw, err := term.master.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	group := -1
	if err := raw.Control(func(fd uintptr) {
		if g, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil {
			group = g
		}
	}); err != nil {
		term.t.Fatal(err)
	}
	return group
}

func TestTerminalStopsContinuesAndInterruptsOnce(t *testing.T) {
	term := newTerminal(t)
	word := token(t)
	term.types("$BIN enter interrupts " + word + "\n")
	term.shows("ready")
	outer, inner := named(word, "enter"), named(word, "scene")
	if len(outer) != 1 || len(inner) != 1 {
		t.Fatalf("outer processes %v, inner %v", outer, inner)
	}

	term.types(ctrlZ)
	eventually(t, "both processes are stopped", func() bool { return stopped(outer[0]) && stopped(inner[0]) })
	term.types("fg\n")
	eventually(t, "both processes run", func() bool { return !stopped(outer[0]) && !stopped(inner[0]) })

	term.types(ctrlC)
	term.shows("interrupted")
	if err := unix.Kill(outer[0], unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	term.types("echo code=$?\n")
	term.shows("code=1") // the count of interrupts
}

func TestUnshareGivesAShellWithJobControl(t *testing.T) {
	term := newTerminal(t)
	word := token(t)
	term.types("$BIN unshare /bin/sh -i\n")
	term.types("echo uid=$(id -u)\n")
	term.shows("uid=0")
	term.types("$BIN plain sleep " + word + "\n")
	term.shows("asleep")
	sleepers := named(word)
	if len(sleepers) != 1 {
		t.Fatalf("sleepers %v", sleepers)
	}

	term.types(ctrlZ)
	eventually(t, "the job is stopped", func() bool { return stopped(sleepers[0]) })
	term.types("bg\n")
	eventually(t, "the job runs", func() bool { return !stopped(sleepers[0]) })
	term.types("fg\n")
	eventually(t, "the job is in the foreground", func() bool { return term.foreground() == sleepers[0] })
	term.types(ctrlC)
	eventually(t, "the job has ended", func() bool { return len(named(word)) == 0 })

	term.types("exit 5\n")
	term.types("echo code=$?\n")
	term.shows("code=5")
}

func TestUnsharedCommandIsInterruptedByTheTerminalOnly(t *testing.T) {
	term := newTerminal(t)
	word := token(t)
	term.types("$BIN unshare $BIN plain interrupts " + word + "\n")
	term.shows("ready")
	term.types(ctrlC)
	term.shows("interrupted")
	outer := named(word, "unshare")
	if len(outer) != 2 { // the inner process has the same arguments
		t.Fatalf("processes %v", outer)
	}
	if err := unix.Kill(min(outer[0], outer[1]), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	term.types("echo code=$?\n")
	term.shows("code=1")
}

func TestTerminalComesBackFromAKilledShell(t *testing.T) {
	term := newTerminal(t)
	word := token(t)
	term.types("sh -c '$BIN unshare /bin/sh -ic \"exec sh -i\" " + word + "; read word; echo got-$word'\n")
	term.types("echo uid=$(id -u)\n")
	term.shows("uid=0")
	term.types("kill -9 $$\n")
	eventually(t, "builder has ended", func() bool { return len(named(word, "unshare")) == 0 })
	term.types("it\n")
	term.shows("got-it")
}
