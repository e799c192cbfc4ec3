package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestInnerProcessIsRootOfItsIDs(t *testing.T) {
	needsUser(t)
	mapping, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	exact := "true"
	if mapping.Kind == KindSingle {
		exact = "false"
	}
	t.Setenv("_CONTAINERS_USERNS_CONFIGURED", "")
	checkState(t, []string{"enter", "state"}, "mapping "+string(mapping.Kind)+" "+exact+" <nil>",
		"ids 0 0 0 0",
		"pid 1 true true true",
		"extra given",
		"death signal 9 <nil>",
		"inheritable true",
		"effective true",
		"private mounts true <nil>",
		"descriptors 0 1 2 <nil>",
	)
}

func TestSingleIDOnRequest(t *testing.T) {
	checkState(t, []string{"enter-single", "state"}, "mapping single false <nil>", "ids 0 0 0 0")
}

func TestNestedNamespaceMapsItself(t *testing.T) {
	needsUser(t)
	mapping, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	want := "mapping self true <nil>"
	if mapping.Kind == KindSingle {
		want = "mapping single false <nil>"
	}
	checkState(t, []string{"enter", "nested", "state"}, want, "ids 0 0 0 0", "pid 1 true true true")
	checkState(t, []string{"unshare", exe(t), "enter", "state"}, want, "ids 0 0 0 0", "pid 1 true true true")
}

func TestStepsDownWhereProcIsCovered(t *testing.T) {
	checkState(t, []string{"enter", "covered", "state"}, "ids 0 0 0 0", "pid 1 false false false", "effective true")
}

func exe(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// checkState wants lines among the output of the scene "state".
func checkState(t *testing.T, args []string, lines ...string) {
	t.Helper()
	out, code := play(t, args...)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+out, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, out)
		}
	}
}

func TestInheritedDescriptorsStayOutside(t *testing.T) {
	needsUser(t)
	leak, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = leak.Close() }()
	cmd := command(t, "enter", "state")
	cmd.ExtraFiles = []*os.File{leak, leak, leak}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\ndescriptors 0 1 2 <nil>\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestExitCodePassesThrough(t *testing.T) {
	for _, want := range []string{"0", "1", "7", "125", "255"} {
		for _, args := range [][]string{{"enter", "exit", want}, {"unshare", "sh", "-c", "exit " + want}} {
			if out, code := play(t, args...); want != strconv.Itoa(code) {
				t.Errorf("%v: exit code %d\n%s", args, code, out)
			}
		}
	}
}

func TestSignalsPassThrough(t *testing.T) {
	p := start(t, "enter", "signals")
	p.expect("ready")
	for _, s := range passedSignals {
		if s == unix.SIGTERM {
			continue
		}
		p.signal(s.(syscall.Signal))
		p.expect(s.String())
	}
	p.signal(unix.SIGTERM)
	p.expect(unix.SIGTERM.String())
	p.wantExit(143)
}

func TestEndOfContextIsPassedAsTERM(t *testing.T) {
	p := start(t, "enter-until-eof", "signals")
	p.expect("ready")
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	p.expect(unix.SIGTERM.String())
	p.wantExit(143)
}

func TestIgnoredSignalsStayIgnored(t *testing.T) {
	needsUser(t)
	p := &outerProcess{Cmd: exec.CommandContext(t.Context(), "/bin/sh", "-c", `trap "" HUP; exec "$0" enter signals`, exe(t)), t: t}
	p.begin()
	p.expect("ready")
	p.signal(unix.SIGHUP)
	p.signal(unix.SIGUSR1)
	p.expect(unix.SIGUSR1.String())
	p.signal(unix.SIGTERM)
	p.expect(unix.SIGTERM.String())
	p.wantExit(143)
}

func TestKillLeavesNothing(t *testing.T) {
	for _, tc := range []struct{ name, victim string }{
		{"outer process", "enter"},
		{"inner process", "scene"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			word := token(t)
			p := start(t, "enter", "family", word)
			p.expect("asleep")
			p.expect("asleep")
			kill(t, word, tc.victim)
			p.wantExit(137)
			eventually(t, "nothing of it is left", func() bool { return len(named(word)) == 0 })
		})
	}
}

func TestKillLeavesNothingWithoutPIDNamespace(t *testing.T) {
	for _, tc := range []struct{ name, victim string }{
		{"outer process", "enter"},
		{"inner process", "scene"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			word := token(t)
			p := start(t, "enter", "covered", "family", word)
			p.expect("asleep")
			p.expect("asleep")
			enclosing := len(named(word, "covered"))
			kill(t, word, tc.victim, "covered")
			eventually(t, "nothing of it is left", func() bool { return len(named(word)) == enclosing })
			if err := p.stdin.Close(); err != nil {
				t.Fatal(err)
			}
			p.wantExit(137)
		})
	}
}

func TestKillAtAnyMomentLeavesNothing(t *testing.T) {
	for delay := range 25 {
		word := token(t)
		p := start(t, "enter", "family", word)
		time.Sleep(time.Duration(delay) * time.Millisecond)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wantExit(137)
		eventually(t, "nothing of it is left", func() bool { return len(named(word)) == 0 })
	}
}

// kill sends KILL to the one process with word and victim, but none of
// others, among its arguments.
func kill(t *testing.T, word, victim string, others ...string) {
	t.Helper()
	excluded := map[int]bool{}
	for _, other := range others {
		for _, pid := range named(word, other) {
			excluded[pid] = true
		}
	}
	var found []int
	for _, pid := range named(word, victim) {
		if !excluded[pid] {
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d processes are %q", len(found), victim)
	}
	if err := unix.Kill(found[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestOrphansAreReapedAndChildrenAreNot(t *testing.T) {
	out, code := play(t, "enter", "orphans")
	if code != 7 || !strings.Contains(out, "adopted and reaped true") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestRefusalsNameTheirCause(t *testing.T) {
	const filter = "the seccomp filter of this container denies them|a seccomp filter on this process denies them"
	const lift = "securityContext|seccomp=unconfined|without that filter|without its seccomp"
	for _, tc := range []struct{ scene, cause, remedy string }{
		{"limited", "the sysctl user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="},
		{"filtered", filter, lift},
		{"powerless", filter, lift},
	} {
		t.Run(tc.scene, func(t *testing.T) {
			out, code := play(t, "enter", tc.scene, "state")
			cause, remedy, _ := strings.Cut(out, "\nremedy: ")
			if code != 125 || !containsAny(cause, tc.cause) || !containsAny(remedy, tc.remedy) {
				t.Errorf("exit code %d\n%s", code, out)
			}
		})
	}
}

func TestAnOrdinaryUserGoesOnWithoutANamespace(t *testing.T) {
	needsUser(t)
	if os.Geteuid() == 0 {
		t.Skip("root doesn't go on unless told so: run this as an ordinary user")
	}
	uid, gid := os.Getuid(), os.Getgid()
	out, code := play(t, "plain", "filtered-plainly", "state")
	for _, line := range []string{
		"mapping own false <nil>", fmt.Sprintf("ids %d %d %d %d", uid, uid, gid, gid),
		"pid 1 false false false", "mounts false", "effective false",
	} {
		if !strings.Contains("\n"+out, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if code != 0 || !strings.Contains(out, "lack user namespaces are forbidden: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestRangesOutsideOfTheNamespaceCountForNothing(t *testing.T) {
	maps := []IDMap{{0, 100000, 1000}, {1000, 500000, 64536}}
	for _, tc := range []struct{ listed, want []idRange }{
		{[]idRange{{100000, 65536}}, nil},
		{[]idRange{{900, 200}}, []idRange{{900, 100}, {1000, 100}}},
		{[]idRange{{65000, 65536}, {2000, 10}}, []idRange{{65000, 536}, {2000, 10}}},
	} {
		if got := within(tc.listed, maps); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.listed, got, tc.want)
		}
	}
}

func containsAny(s, alternatives string) bool {
	for _, a := range strings.Split(alternatives, "|") {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

func TestNoNewPrivsLeavesASingleIDAndANotice(t *testing.T) {
	needsUser(t)
	mapping, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if mapping.Kind != KindRange || os.Geteuid() == 0 {
		t.Skipf("only an ordinary user with subordinate ids needs newuidmap: run this as one (the mapping is %q)", mapping.Kind)
	}
	out, code := play(t, "plain", "no-new-privs", "state")
	if code != 0 || !strings.Contains(out, "notice: no_new_privs is set") || !strings.Contains(out, "mapping single false") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestSetupRefusesAStrangersEnvironment(t *testing.T) {
	cmd := command(t, "scene", "state")
	cmd.Env = append(os.Environ(), envInside+"=1")
	out, err := cmd.CombinedOutput()
	var exited *exec.ExitError
	if !errors.As(err, &exited) || !strings.Contains(string(out), "unset "+envInside) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUnshareKeepsEnvironmentAndProcessIDs(t *testing.T) {
	needsUser(t)
	t.Setenv("BUILDER_TEST_KEPT", "kept")
	out, code := play(t, "unshare", "sh", "-c",
		`echo $(id -u) $BUILDER_TEST_KEPT $BUILDER_TEST_EXTRA "$_BUILDER_USERNS" $$; cat /proc/self/uid_map | head -1`)
	fields := strings.Fields(out)
	if code != 0 || len(fields) < 4 || strings.Join(fields[:3], " ") != "0 kept given" || fields[3] == "1" {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestUnshareRunsTheUsersShell(t *testing.T) {
	needsUser(t)
	t.Setenv("SHELL", "/bin/true")
	if out, code := play(t, "unshare"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	t.Setenv("SHELL", "/bin/false")
	if out, code := play(t, "unshare"); code != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestUnshareTellsMissingFromUnusable(t *testing.T) {
	for command, want := range map[string]int{"no-such-command": 127, "/no/such/command": 127, "/etc/passwd": 126} {
		if out, code := play(t, "unshare", command); code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", command, code, want, out)
		}
	}
}

func TestUnshareEndsWhatIsLeftInTheBackground(t *testing.T) {
	word := token(t)
	if out, code := play(t, "unshare", exe(t), "plain", "daemon", word); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if left := named(word); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestUnsharePassesSignals(t *testing.T) {
	p := start(t, "unshare", exe(t), "plain", "signals")
	p.expect("ready")
	p.signal(unix.SIGUSR1)
	p.expect(unix.SIGUSR1.String())
	p.signal(unix.SIGTERM)
	p.expect(unix.SIGTERM.String())
	p.wantExit(143)
}

func TestKilledUnshareLeavesNothing(t *testing.T) {
	word := token(t)
	p := start(t, "unshare", exe(t), "plain", "family", word)
	p.expect("asleep")
	p.expect("asleep")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wantExit(137)
	eventually(t, "nothing of it is left", func() bool { return len(named(word)) == 0 })
}
