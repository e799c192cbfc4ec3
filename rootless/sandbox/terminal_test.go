package sandbox

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal gives a terminal's slave.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A size that the caller's terminal gets while the program is being started, before
// anybody listens for a change, comes through.
func TestASizeOfBeforeTheStartComesThrough(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		terminal := openTerminal(t)
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 90}); err != nil {
			t.Fatal(err)
		}
		s := shell(t, `n=0; until [ "$(stty size)" = "30 90" ]; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; sleep 0.01; done`)
		s.Terminal, s.Size = true, Winsize{20, 70} // what it was
		s.Stdin, s.Stdout, s.Stderr = terminal, terminal, terminal
		if exit, err := o.Run(t.Context(), s); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
	})
}
