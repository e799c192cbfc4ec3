package sandbox

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPauseStopsEverythingUntilResume(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		r, w := pipe(t)
		in, typed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = in.Close(), typed.Close() }()
		// One that had been stopped before, one that starts others all the time.
		s := shell(t, `sleep 619 & kill -STOP $!; until grep -q "^State:.T" /proc/$!/status; do :; done; (while :; do /bin/true; done) & echo up; read line; echo "got $line"; sleep 619`)
		s.Stdin, s.Stdout = in, w
		p := started(t, o, s)
		expect := func(want string) {
			t.Helper()
			if got, err := r.ReadString('\n'); got != want {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
		expect("up\n")
		e := execution("while :; do /bin/true; done")
		if _, err := p.Exec(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		was := p.inside()
		if len(was) < 4 {
			t.Errorf("processes %v", was)
		}
		for range 3 {
			now := p.inside()
			for id, state := range now {
				if _, known := was[id]; !known || !id.stands() {
					t.Errorf("process %+v is in state %c", id, state)
				}
			}
		}
		if _, err := typed.WriteString("hello\n"); err != nil {
			t.Fatal(err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		expect("got hello\n")
		stopped := 0
		for _, state := range p.inside() {
			if state == 'T' {
				stopped++
			}
		}
		if stopped != 1 {
			t.Errorf("%d are stopped, want the one that was before", stopped)
		}
	})
}

func TestPausedProgramCanBeKilled(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		p := started(t, o, shell(t, "sleep 620"))
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
	})
}

// A process of several threads that executes a program drops a stop which has begun.
func TestPauseStopsWhatExecutesItselfAllTheTime(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		s := shell(t, "exec -a reexec /bin/self")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, self, s.RootFS+"/bin/self")
		p := started(t, o, s)
		for range 20 {
			if err := p.Pause(); err != nil {
				t.Fatal(err)
			}
			for id, state := range p.inside() {
				// One that had the signal before it comes to it.
				for until := time.Now().Add(10 * patience); !id.stands(); time.Sleep(pause) {
					if time.Now().After(until) {
						t.Fatalf("process %+v is in state %c", id, state)
					}
				}
			}
			if err := p.Resume(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestPauseFreezesTheProgramsOwnCgroup needs a cgroup that is the user's: see the
// tests of the whole program.
func TestPauseFreezesTheProgramsOwnCgroup(t *testing.T) {
	parent := os.Getenv("BUILDER_TEST_CGROUP")
	if parent == "" {
		t.Skip("BUILDER_TEST_CGROUP names no cgroup")
	}
	forEachRuntime(t, func(t *testing.T, o *OCI) {
		showCgroups()
		s := shell(t, "sleep 626")
		s.Limits.Parent = parent
		p := started(t, o, s)
		if _, err := p.Exec(t.Context(), execution("while :; do /bin/true; done")); err != nil {
			t.Fatal(err)
		}
		events := func() string {
			data, err := os.ReadFile(p.bundle.group.Dir().Name() + "/cgroup.events")
			if err != nil {
				t.Error(err)
			}
			return string(data)
		}
		if err := p.Pause(); err != nil || !strings.Contains(events(), "frozen 1") {
			t.Errorf("%v %s", err, events())
		}
		was := p.inside()
		if now := p.inside(); len(was) < 2 || !reflect.DeepEqual(now, was) {
			t.Errorf("%v, then %v", was, now)
		}
		if err := p.Resume(); err != nil || strings.Contains(events(), "frozen 1") {
			t.Errorf("%v %s", err, events())
		}
		if err := p.Pause(); err != nil {
			t.Error(err)
		}
		closeAll(t, p) // ends what is paused
		if exit, err := p.Wait(); err != nil || exit.Code != 137 {
			t.Errorf("%+v, %v; want code 137", exit, err)
		}
	})
}
