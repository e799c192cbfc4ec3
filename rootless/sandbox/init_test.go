package sandbox

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withInit starts the command of s by this test binary, see TestMain.
func withInit(t *testing.T, s Spec) Spec {
	t.Helper()
	var err error
	if s.Init, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInitReapsAndGivesTheExitCode(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		// The orphan's end comes before the grandparent's: a zombie would be seen.
		s := withInit(t, shell(t, `cat /proc/$PPID/cmdline | tr '\0' ' '; echo
			sh -c 'sh -c "exit 5" & echo $! >/tmp/pid'
			while test -e /proc/$(cat /tmp/pid); do sleep 0.01; done
			exit 3`))
		r, w := pipe(t)
		s.Stdout = w
		p := started(t, o, s)
		if exit, err := p.Wait(); err != nil || exit.Code != 3 {
			t.Errorf("%+v, %v; want code 3", exit, err)
		}
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, InitPath+" -- sh -c") {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func TestInitPassesSignalsOn(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		for script, want := range map[string]int{
			`trap "exit 7" TERM; echo up; while :; do sleep 0.01; done`: 7,
			`echo up; exec sleep 623`:                                   128 + int(unix.SIGTERM), // as process 1 it would ignore it
		} {
			r, w := pipe(t)
			s := withInit(t, shell(t, script))
			s.Stdout = w
			p := started(t, o, s)
			if _, err := r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if err := p.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			if exit, err := p.Wait(); err != nil || exit.Code != want {
				t.Errorf("%s: %+v, %v; want code %d", script, exit, err, want)
			}
		}
	})
}

func TestInitTellsWhatCannotBeRun(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := withInit(t, shell(t, ""))
		for command, want := range map[string]int{"nowhere": 127, "/etc/hosts": 126} {
			s.Args = []string{command}
			p := started(t, o, s)
			if exit, err := p.Wait(); err != nil || exit.Code != want {
				t.Errorf("%s: %+v, %v; want code %d", command, exit, err, want)
			}
			closeAll(t, p)
		}
	})
}

func TestInitNeedsAMountPoint(t *testing.T) {
	points := MountPoints(Spec{Init: "/bin/busybox"})
	if last := points[len(points)-1]; last != (MountPoint{InitPath, false}) {
		t.Errorf("%v", points)
	}
}
