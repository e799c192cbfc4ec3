package tests

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pushBase builds a base of a Dockerfile, pushes it, and gives its name at a
// registry that holds up half of its layers. The store doesn't have it then.
func pushBase(t *testing.T, s *state, dockerfile string) (string, *slowRegistry) {
	t.Helper()
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	dir := filepath.Join(s.dir, "base")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"bud", "-t", registry + "/base", dir}, {"push", registry + "/base"}, {"rmi", registry + "/base"}, {"cache", "prune", "-f"},
	} {
		if _, err := s.builder(args...); err != nil {
			t.Fatal(err)
		}
	}
	slow := newSlowRegistry(t, registry)
	return slow.address() + "/base", slow
}

const largeBase = "FROM busybox\nRUN dd if=/dev/urandom of=/large bs=1M count=1 2>/dev/null\n"

// What can run runs, while a base of another stage is still on its way.
func TestStagesRunWhileABaseIsPulled(t *testing.T) {
	s, dir := newContext(t, "")
	base, slow := pushBase(t, s, largeBase)
	write(t, filepath.Join(dir, "Dockerfile"), `FROM busybox AS quick
RUN echo quick > /q
FROM `+base+`
COPY --from=quick /q /q
RUN test -s /large
`)
	term := start(t, s, 80, 24, []string{"-t", "app", dir})
	t.Logf("while it is pulled:\n%s", term.shows("▸ pulling "+base, "✓ RUN echo quick"))
	slow.goOn()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	term.shows("✓ RUN test -s /large", "Built app")
}

// A step that fails ends the build, and with it the pull of another stage's base.
func TestAFailedStepEndsAPull(t *testing.T) {
	s, dir := newContext(t, "")
	base, _ := pushBase(t, s, largeBase)
	write(t, filepath.Join(dir, "Dockerfile"), "FROM "+base+" AS pulled\nFROM busybox AS bad\nRUN exit 7\nFROM scratch\nCOPY --from=bad / /\nCOPY --from=pulled / /\n")
	cmd := s.command("builder", "bud", dir)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 7 || !strings.Contains(string(out), "Dockerfile:3: RUN exit 7") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}

// What the triggers of a base read isn't known before it has arrived.
func TestTriggersOfAPulledBaseReadStages(t *testing.T) {
	s, dir := newContext(t, "")
	base, slow := pushBase(t, s, largeBase+"ONBUILD COPY --from=tools /tool /tool\n")
	write(t, filepath.Join(dir, "Dockerfile"), "FROM busybox AS tools\nRUN echo tool > /tool\nFROM "+base+"\nRUN cat /tool\n")
	term := start(t, s, 80, 24, []string{"-t", "app", dir})
	term.shows("▸ pulling " + base)
	slow.goOn()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out, err := s.builder("bud", "--no-cache", "-t", "app", dir)
	if err != nil || !strings.Contains(out, "tool\n") || !strings.Contains(out, "Step 4/4") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Pruning beside a pull frees at once what the pull doesn't need, and leaves it
// what it has found here, though no image names that any more.
func TestPruningBesideAPull(t *testing.T) {
	s, _ := newContext(t, "")
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	slow := newSlowRegistry(t, registry)
	do := func(args ...string) string {
		t.Helper()
		out, err := s.builder(args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, image := range []struct{ name, from string }{{"shared", "busybox"}, {"app", "shared"}, {"unneeded", "busybox"}} {
		file := filepath.Join(s.dir, image.name)
		write(t, file, "FROM "+image.from+"\nRUN head -c 2000000 /dev/urandom >/"+image.name+"\n")
		do("bud", "-t", image.name, "-f", file, s.dir)
	}
	do("push", "app", registry+"/app")
	do("rmi", "app") // its own layer is to be fetched

	pull := s.command("builder", "pull", slow.address()+"/app")
	out, err := pull.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	exists := 0
	for lines.Scan() && !strings.Contains(lines.Text(), "Pulling fs layer") {
		if strings.Contains(lines.Text(), "Already exists") {
			exists++
		}
	}
	if exists != 2 {
		t.Errorf("the pull has found %d layers here", exists)
	}
	do("rmi", "shared", "unneeded")
	pruned := do("cache", "prune", "-f")
	if !strings.Contains(pruned, "Total reclaimed space: ") || strings.Contains(pruned, "more when") {
		t.Errorf("pruned:\n%s", pruned)
	}
	slow.goOn()
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Pulling fs layer") {
			t.Error("what was here has gone: ", lines.Text())
		}
	}
	if err := pull.Wait(); err != nil {
		t.Error(err)
	}
	do("run", "--rm", "--network=none", slow.address()+"/app", "test", "-s", "/shared", "-a", "-s", "/app")
	if text := do("system", "check"); !strings.Contains(text, "in order") {
		t.Errorf("check:\n%s", text)
	}
}
