package sandbox

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readTerminal reads what is printed until nobody has the terminal open.
func readTerminal(t *testing.T, terminal *os.File) string {
	t.Helper()
	printed, err := io.ReadAll(terminal)
	if err != nil && !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	return strings.ReplaceAll(string(printed), "\r\n", "\n")
}

const askTerminal = `stty size; read line; test -t 0 && test -t 2 && echo "got $line"; trap "stty size; exit 4" WINCH; echo ready; while :; do sleep 0.01; done`

// Of the runtimes crun 1.8 starts what is executed on a terminal without a size, which
// gets its own a moment later.
const awaitTerminal = `n=0; until [ "$(stty size)" ] || [ $n = 1000 ]; do n=$((n + 1)); sleep 0.01; done; ` + askTerminal

// talk types at a terminal, changes its size, and reads what that causes.
func talk(t *testing.T, terminal *os.File) {
	t.Helper()
	if _, err := terminal.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	for buffer := make([]byte, 512); !strings.Contains(seen.String(), "ready\r\n"); {
		n, err := terminal.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
	}
	if err := SetWinsize(terminal, Winsize{30, 90}); err != nil {
		t.Fatal(err)
	}
	printed := strings.ReplaceAll(seen.String(), "\r\n", "\n") + readTerminal(t, terminal)
	for _, want := range []string{"20 70\n", "got hello\n", "30 90\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q isn't in %q", want, printed)
		}
	}
}

func TestProgramHasATerminalOfItsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, askTerminal)
		// The path of a socket can have 108 bytes.
		s.StateDir = filepath.Join(s.StateDir, strings.Repeat("long", 30))
		s.Terminal, s.Size = true, Winsize{20, 70}
		p := started(t, o, s)
		talk(t, p.Terminal())
		if exit, err := p.Wait(); err != nil || exit.Code != 4 {
			t.Errorf("%+v, %v; want code 4", exit, err)
		}
	})
}

func TestExecHasATerminalOfItsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		p := started(t, o, shell(t, "sleep 618"))
		e := execution(awaitTerminal)
		e.Terminal, e.Size = true, Winsize{20, 70}
		r, err := p.Exec(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Terminal().Close() }()
		talk(t, r.Terminal())
		if exit, err := r.Wait(); err != nil || exit.Code != 4 {
			t.Errorf("%+v, %v; want code 4", exit, err)
		}
	})
}
