package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"golang.org/x/sys/unix"
)

func TestExitCodeIsTheProgramsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "")
		for script, want := range map[string]Exit{
			"true":                           {},
			"exit 3":                         {Code: 3},
			"exit 1":                         {Code: 1},
			"exit 127":                       {Code: 127},
			"no-such-command":                {Code: 127},
			`sh -c 'kill -KILL $$'; exit $?`: {Code: 137, Signal: 9},
			`sh -c 'kill -TERM $$'; exit $?`: {Code: 143, Signal: 15},
			"sleep 600 </dev/null & ":        {},
		} {
			s.Args = []string{"sh", "-c", script}
			exit, err := o.Run(t.Context(), s)
			exit.OOMUnknown = false // the machine's matter
			if err != nil || exit != want {
				t.Errorf("%s: %+v, %v; want %+v", script, exit, err, want)
			}
		}
		if left := running(t, "sleep\x00600"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
	})
}

func TestStreamsAreApart(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "cat; echo error >&2")
		var out, errs bytes.Buffer
		s.Stdin, s.Stdout, s.Stderr = strings.NewReader("input"), &out, &errs
		if exit, err := o.Run(t.Context(), s); err != nil || exit.Code != 0 {
			t.Fatal(exit, err)
		}
		if out.String() != "input" || errs.String() != "error\n" {
			t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
		}
	})
}

func TestProgramThatDoesNotReadItsInputEnds(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "true")
		r, w := io.Pipe() // its Read blocks until the end of the test
		defer func() { _ = w.Close() }()
		s.Stdin = r
		if exit, err := o.Run(t.Context(), s); err != nil || exit.Code != 0 {
			t.Error(exit, err)
		}
	})
}

func TestStartFailuresAreToldFromTheProgramsOwn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "")
		write := func(name, content string, mode os.FileMode) {
			if err := os.WriteFile(filepath.Join(s.RootFS, name), []byte(content), mode); err != nil {
				t.Fatal(err)
			}
		}
		write("plain", "#!/bin/sh\n", 0o644)
		write("garbage", "\x7fELF nothing", 0o755)
		write("fine", "#!/bin/sh\nexit 1\n", 0o755)
		write("script", "#!/no/such/interpreter\n", 0o755)
		for command, want := range map[string]int{
			"nowhere":     127,
			"/no/where":   127,
			"/script":     127,
			"/plain":      126,
			"/garbage":    126,
			"/etc":        126,
			"/plain/file": 126,
			"/fine":       0, // the code is its own
		} {
			s.Args = []string{command}
			var errs bytes.Buffer
			s.Stderr = &errs
			exit, err := o.Run(t.Context(), s)
			if want == 0 && err == nil && exit.Code == 1 {
				continue
			}
			if err == nil || exit.Code != want || fault.Code(err) != want || fault.Remedy(err) == "" {
				t.Errorf("%s: %+v, %v (code %d, remedy %q, stderr %q); want %d", command, exit, err, fault.Code(err), fault.Remedy(err), errs.String(), want)
			}
		}
	})
}

func TestCancelKillsEverything(t *testing.T) {
	cause := errors.New("the user has had enough")
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		ctx, cancel := context.WithCancelCause(t.Context())
		r, w := io.Pipe()
		// One in the background, one that has left the session, one that
		// takes no hint; the last word comes when they are all there.
		s := shell(t, `sleep 601 & setsid sleep 601 & trap "" TERM INT; echo up; sleep 601`)
		s.Stdout = w
		go func() {
			_, _ = io.ReadFull(r, make([]byte, 3))
			cancel(cause)
			_, _ = io.Copy(io.Discard, r)
		}()
		_, err := o.Run(ctx, s)
		if !errors.Is(err, cause) {
			t.Errorf("error %v, want %v", err, cause)
		}
		if left := running(t, "sleep\x00601"); len(left) > 0 {
			t.Errorf("processes are left: %s", left)
		}
	})
}

func TestCancelAtAnyMomentLeavesNothing(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "sleep 602")
		for delay := time.Duration(0); delay < 40*time.Millisecond; delay += 4 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), delay)
			if _, err := o.Run(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", delay, err)
			}
			cancel()
			if left := running(t, "sleep\x00602"); len(left) > 0 {
				t.Fatalf("after %v processes are left: %s", delay, left)
			}
			if left, _ := os.ReadDir(s.StateDir); len(left) > 0 {
				t.Errorf("after %v files are left: %v", delay, left)
			}
		}
	})
}

func TestSignalsReachTheProgram(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		for _, tc := range []struct {
			script string
			signal os.Signal
			want   int
		}{
			{`trap "exit 7" TERM; echo up; while :; do sleep 0.01; done`, unix.SIGTERM, 7},
			{`trap "exit 8" INT; echo up; while :; do sleep 0.01; done`, unix.SIGINT, 8},
			{`echo up; exec sleep 603`, unix.SIGKILL, 137},
		} {
			signals := make(chan os.Signal, 2)
			r, w := io.Pipe()
			s := shell(t, tc.script)
			s.Stdout, s.Signals = w, signals
			go func() {
				_, _ = io.ReadFull(r, make([]byte, 3))
				signals <- tc.signal
			}()
			exit, err := o.Run(t.Context(), s)
			if err != nil || exit.Code != tc.want {
				t.Errorf("%s: %+v, %v; want code %d", tc.script, exit, err, tc.want)
			}
		}
	})
}

func TestNoDescriptorIsInherited(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		fd, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // without O_CLOEXEC
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		// ls itself opens one to read the directory.
		if got := strings.Fields(output(t, o, shell(t, "ls /proc/self/fd"))); len(got) > 4 {
			t.Errorf("descriptors %v", got)
		}
	})
}

func TestNetworkNamespaceIsTheOneAskedFor(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		path := filepath.Join(t.TempDir(), "netns")
		out, err := exec.Command("sh", "-ec", `touch "$1"; exec unshare -n mount --bind /proc/self/ns/net "$1"`, "sh", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		defer func() { _ = unix.Unmount(path, unix.MNT_DETACH) }()
		host, private := namespaceName(t, "/proc/self/ns/net"), namespaceName(t, path)
		for _, mode := range []network.Mode{network.ModeHost, network.ModeNone, network.ModePrivate} {
			s := shell(t, "readlink /proc/self/ns/net")
			s.Network, s.NetNS = mode, path
			got := strings.TrimSpace(output(t, o, s))
			if (got == host) != (mode == network.ModeHost) || (got == private) != (mode == network.ModePrivate) {
				t.Errorf("%s: in %s; the host's is %s, the private one %s", mode, got, host, private)
			}
		}
	})
}

// namespaceName gives a namespace's name as links in /proc have it.
func namespaceName(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("net:[%d]", st.Ino)
}
