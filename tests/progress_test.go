package tests

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/tests/hostile"
)

const twoStages = `FROM busybox AS tools
ARG GATE
RUN mkdir /tools
RUN for i in 1 2 3 4 5 6 7 8; do echo "compiling part $i of the tools"; done; printf 'linking 50%%\rlinking 90%%'; nc 127.0.0.1 $GATE; echo
FROM busybox
ENV COLOR=blue
COPY Dockerfile /
COPY --from=tools /tools /tools
`

func TestTerminalShowsStagesAndRunningSteps(t *testing.T) {
	for _, size := range []struct{ cols, rows int }{{80, 24}, {40, 10}} {
		t.Run(fmt.Sprintf("%dx%d", size.cols, size.rows), func(t *testing.T) {
			s, dir := newContext(t, twoStages)
			g := newGate(t)
			term := newTerminal(t, s.command("builder", "bud", "--network=host", g.arg("GATE"), "-t", "app", dir), size.cols, size.rows)
			pass := g.arrives()
			screen := term.shows("linking 90%", "Building app", "RUN for i in", "part 8")
			t.Logf("while it runs:\n%s", screen)
			if strings.Contains(screen, "50%") {
				t.Error("what was written over is shown")
			}
			pass()
			if code := term.ends(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			screen = term.shows("Built app:latest")
			t.Logf("at the end:\n%s", screen)
			if strings.Contains(screen, "Building") || strings.Contains(screen, "part 8") {
				t.Error("the view is still there")
			}
			again := newTerminal(t, s.command("builder", "bud", "--network=host", g.arg("GATE"), "-t", "app", dir), size.cols, size.rows)
			again.ends()
			t.Logf("again:\n%s", again.shows("cached", "Built app:latest"))
		})
	}
}

// oneStage waits in its second step, of three.
const oneStage = `FROM busybox
ARG GATE
RUN echo "step by step"; nc 127.0.0.1 $GATE
RUN echo "last step"
`

// start runs a build of a context on a terminal.
func start(t *testing.T, s *state, cols, rows int, args []string, env ...string) *terminal {
	t.Helper()
	cmd := s.command("builder", append([]string{"bud", "--network=host"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	return newTerminal(t, cmd, cols, rows)
}

func TestTerminalOfAFailedBuild(t *testing.T) {
	s, dir := newContext(t, `FROM busybox AS other
ARG OTHER
RUN nc 127.0.0.1 $OTHER
FROM busybox AS bad
ARG BAD
RUN echo early | tr e E; for i in $(seq 12); do echo "making part $i"; done; nc 127.0.0.1 $BAD; echo luckless | tr k K >&2; exit 3
FROM scratch
COPY --from=other / /
COPY --from=bad / /
`)
	other, bad := newGate(t), newGate(t)
	term := start(t, s, 80, 40, []string{other.arg("OTHER"), bad.arg("BAD"), dir})
	defer other.arrives()()
	pass := bad.arrives()
	if screen := term.shows("RUN nc", "making part 12"); strings.Contains(screen, "Early") {
		t.Errorf("more than the last lines are shown while it runs:\n%s", screen)
	}
	pass()
	if code := term.ends(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	screen := term.text()
	t.Logf("at the end:\n%s", screen)
	want := []string{
		`(?m)^  ■ RUN nc .* stopped$`, `(?m)^  ✗ RUN echo`, `Early$`, `making part 1$`, `lucKless$`,
		`(?m)^builder: Dockerfile:6: RUN`, `exit code 3`, `^  builder logs [0-9a-f]{12}    #`, `^  builder debug    #`,
	}
	if !regexp.MustCompile("(?ms)" + strings.Join(want, ".*")).MatchString(screen) {
		t.Error("something is missing, or in another order")
	}
	if strings.Count(screen, "lucKless") != 1 {
		t.Error("the output is repeated")
	}
}

func TestTerminalAfterAnInterrupt(t *testing.T) {
	s, dir := newContext(t, oneStage)
	g := newGate(t)
	term := start(t, s, 60, 20, []string{g.arg("GATE"), dir})
	defer g.arrives()()
	term.shows("step by step", "Building 2/4")
	term.types("\x03")
	if code := term.ends(); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d", code)
	}
	screen := term.text()
	t.Logf("at the end:\n%s", screen)
	if !strings.Contains(screen, "stopped") || !strings.HasSuffix(screen, "\nbuilder: interrupted") || strings.Contains(screen, "Building") {
		t.Errorf("the screen isn't that of an interrupted build:\n%s", screen)
	}
	if err := s.quiet(); err != nil {
		t.Error(err)
	}
}

func TestTerminalAfterAKill(t *testing.T) {
	s, dir := newContext(t, oneStage)
	g := newGate(t)
	term := start(t, s, 60, 20, []string{g.arg("GATE"), dir})
	defer g.arrives()()
	term.shows("step by step")
	inner := descendants(term.cmd.Process.Pid)
	if err := syscall.Kill(inner[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := term.ends(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	if err := (&build{state: s}).quietAfterKill(); err != nil {
		t.Error(err)
	}
	if _, err := s.builder("run", "--rm", "busybox", "true"); err != nil { // which sweeps up
		t.Error(err)
	}
}

func TestTerminalThatIsResized(t *testing.T) {
	s, dir := newContext(t, oneStage)
	g := newGate(t)
	term := start(t, s, 80, 24, []string{g.arg("GATE"), "-t", "app", dir})
	pass := g.arrives()
	wide := `RUN echo "step by step"; nc 127.0.0.1 $GATE`
	term.shows(wide, "Building app")
	term.setSize(30, 10)
	screen := term.shows("…", "step by step")
	t.Logf("narrower:\n%s", screen)
	once(t, screen, "FROM", "RUN", "Building app")
	term.setSize(100, 30)
	screen = term.shows(wide)
	t.Logf("wider:\n%s", screen)
	once(t, screen, "FROM", "RUN", "Building app")
	pass()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	once(t, term.shows("Built app:latest"), "FROM", "step by step", "last step")
}

// once looks whether texts stand on a screen, and no former drawing of them.
func once(t *testing.T, screen string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if n := strings.Count(screen, text); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", text, n, screen)
		}
	}
}

// color finds attributes of characters.
var color = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

func TestTerminalWithoutColor(t *testing.T) {
	s, dir := newContext(t, oneStage)
	for _, test := range []struct {
		env     []string
		colored bool
	}{{nil, true}, {[]string{"NO_COLOR=1"}, false}} {
		g := newGate(t)
		term := start(t, s, 80, 24, []string{"--no-cache", g.arg("GATE"), dir}, test.env...)
		pass := g.arrives()
		term.shows("Building 2/4")
		pass()
		term.ends()
		if got := color.Match(term.written.Bytes()); got != test.colored {
			t.Errorf("with %v colored is %t", test.env, got)
		}
		if !strings.Contains(term.text(), "✓ RUN") {
			t.Errorf("with %v the screen is\n%s", test.env, term.text())
		}
	}
}

// Where nobody looks, or somebody wants so, the build is a log.
func TestPlainWhereNoTerminalIs(t *testing.T) {
	s, dir := newContext(t, "FROM busybox\nRUN echo word\n")
	for _, env := range []string{"TERM=dumb", "CI=true", "BUILDKIT_PROGRESS=plain", "BUILDER_PROGRESS=plain", ""} {
		var out bytes.Buffer
		if env == "" {
			cmd := s.command("builder", "bud", "--no-cache", "--progress=tty", dir)
			cmd.Env = append(cmd.Env, "TERM=xterm")
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatal(err, out.String())
			}
		} else {
			term := start(t, s, 80, 24, []string{"--no-cache", dir}, env)
			term.ends()
			out.WriteString(strings.ReplaceAll(term.written.String(), "\r\n", "\n"))
		}
		text := out.String()
		if strings.ContainsAny(text, "\x1b\r") || !strings.Contains(text, "Step 2/2 : RUN echo word\n") ||
			!regexp.MustCompile(`(?m)^Built [0-9a-f]{12}, [0-9.]+MB, 0 of 1 step cached, [0-9.]+s\n\z`).MatchString(text) {
			t.Errorf("with %q the output is\n%q", env, text)
		}
	}
}

func TestQuietPrintsTheIdAlone(t *testing.T) {
	s, dir := newContext(t, "FROM busybox\nRUN echo word\n")
	for _, args := range [][]string{{"-q"}, {"--progress=quiet"}} {
		for range 2 { // executed, and cached
			cmd := s.command("builder", append(append([]string{"bud"}, args...), dir)...)
			out, err := cmd.CombinedOutput()
			if err != nil || !regexp.MustCompile(`^sha256:[0-9a-f]{64}\n$`).Match(out) {
				t.Errorf("%v: %v, %q", args, err, out)
			}
		}
	}
}

// A bar shows how far a layer is that the registry gives the half of.
func TestTerminalShowsPulls(t *testing.T) {
	s, _ := newContext(t, "")
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := s.builder("push", "busybox", registry+"/base"); err != nil {
		t.Fatal(err)
	}
	slow := newSlowRegistry(t, registry)
	base := slow.address() + "/base"
	dockerfile := filepath.Join(s.dir, "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte("FROM "+base+"\nRUN true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fresh.close(); err != nil {
			t.Error(err)
		}
	})
	term := start(t, fresh, 80, 24, []string{"-t", "app", "-f", dockerfile, s.dir})
	screen := term.shows("▸ pulling "+base, "▕", "▏")
	t.Logf("while it is pulled:\n%s", screen)
	slow.goOn()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("at the end:\n%s", term.shows("✓ pulled "+base, "Built app:latest"))
}

// A pull has a line for each layer, in docker's words, which changes in place.
func TestTerminalOfAPull(t *testing.T) {
	s, _ := newContext(t, "")
	registry := hostile.New()
	t.Cleanup(registry.Close)
	small, large := hostile.Files("small"), hostile.Files("large", noise(1<<20))
	registry.Push("team/app:v1", small, large)
	slow := newSlowRegistry(t, registry.Address())
	name := slow.address() + "/team/app"
	ids := []string{digest.FromBytes(small.Blob).Encoded()[:12], digest.FromBytes(large.Blob).Encoded()[:12]}

	term := newTerminal(t, s.command("builder", "pull", name+":v1"), 80, 24)
	term.shows(ids[0]+": Pull complete", ids[1]+": Downloading", "kB / 1.05MB")
	term.shows("█")
	term.is("v1: Pulling from team/app", ids[0]+": Pull complete", ids[1]+": Downloading ▕█…▏ …kB / 1.05MB")
	slow.goOn()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	term.is("v1: Pulling from team/app", ids[0]+": Pull complete", ids[1]+": Pull complete",
		"Digest: sha256:…", "Status: Downloaded newer image for "+name+":v1", name+":v1")

	again := newTerminal(t, s.command("builder", "pull", name+":v1"), 40, 24)
	if code := again.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	again.shows("v1: Pulling from team/app", "Status: Image is up to date for")
}

// More layers than there are lines are shown as far as they go, and all of them
// at the end; what breaks is told of above.
func TestTerminalOfAPullOfManyLayers(t *testing.T) {
	s, _ := newContext(t, "")
	registry := hostile.New()
	t.Cleanup(registry.Close)
	var layers []hostile.Layer
	for i := range 20 {
		layers = append(layers, hostile.Files(fmt.Sprint("layer ", i)))
	}
	registry.Push("app:v1", layers...)
	first := digest.FromBytes(layers[0].Blob)
	hold := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	registry.On(first.String(), 1, hostile.Status(http.StatusServiceUnavailable, "UNAVAILABLE"))
	registry.On(first.String(), 1, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		<-hold
		next.ServeHTTP(w, q)
	})
	term := newTerminal(t, s.command("builder", "pull", registry.Address()+"/app:v1"), 80, 12)
	term.shows(": retrying in 500ms: 503 Service Unavailable", "more", "Download complete")
	goOn()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if screen := term.shows("Pull complete", "Status: Downloaded newer"); strings.Contains(screen, "more") {
		t.Errorf("the screen is\n%s", screen)
	}
	if written := term.written.String(); strings.Count(written, ": Pull complete") < len(layers) {
		t.Error("not all layers are told of at the end")
	}
}

// slowRegistry stands before a registry and gives half of each large blob until
// it is told to go on.
type slowRegistry struct {
	server *httptest.Server
	held   chan struct{}
	goOn   func()
}

func newSlowRegistry(t *testing.T, address string) *slowRegistry {
	r := &slowRegistry{held: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(response *http.Response) error {
		if response.ContentLength > 1<<16 {
			response.Body = &heldBody{response.Body, response.ContentLength / 2, r.held}
		}
		return nil
	}
	r.server = httptest.NewServer(proxy)
	r.goOn = sync.OnceFunc(func() { close(r.held) })
	t.Cleanup(func() { r.goOn(); r.server.Close() })
	return r
}

func (r *slowRegistry) address() string { return r.server.Listener.Addr().String() }

// heldBody gives so many bytes, and the rest when the channel is closed.
type heldBody struct {
	io.ReadCloser
	left int64
	held chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		<-b.held
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// frames waits until the view has been drawn so often again, and gives what was
// written for that.
func (term *terminal) frames(n int) string {
	term.t.Helper()
	since := func(begin int) string {
		term.mu.Lock()
		defer term.mu.Unlock()
		return string(term.written.Bytes()[begin:])
	}
	begin := len(since(0))
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if text := since(begin); strings.Count(text, "Building app") >= n {
			return text
		}
		if time.Now().After(deadline) {
			term.t.Fatal("the view isn't drawn any more")
		}
	}
}

// is looks whether lines are all that stands on the screen; "…" in one is
// anything.
func (term *terminal) is(lines ...string) {
	term.t.Helper()
	pattern := regexp.QuoteMeta(strings.Join(lines, "\n"))
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	if screen := term.text(); !regexp.MustCompile("^" + pattern + "$").MatchString(screen) {
		term.t.Errorf("the screen is\n%s\nnot\n%s", screen, strings.Join(lines, "\n"))
	}
}

// The view becomes longer and shorter, and a stage leaves it: there is never a
// line too many, and none of what is finished is drawn again.
func TestTerminalIsDrawnInPlace(t *testing.T) {
	s, dir := newContext(t, `FROM busybox AS first
ARG G1 G2
RUN for i in 1 2 3 4 5 6; do echo "part $i"; done; nc 127.0.0.1 $G1
RUN nc 127.0.0.1 $G2
FROM busybox AS second
ARG G3
COPY --from=first /bin /first
RUN nc 127.0.0.1 $G3
`)
	g1, g2, g3 := newGate(t), newGate(t), newGate(t)
	term := start(t, s, 80, 24, []string{g1.arg("G1"), g2.arg("G2"), g3.arg("G3"), "-t", "app", dir})
	pass := g1.arrives()
	term.shows("part 6", "waits for first")
	term.frames(2)
	waits := []string{"second  2/4… waits for first", "  ✓ FROM busybox AS second…", "  ✓ ARG G3…", "  · COPY --from=first /bin /first", "Building app…"}
	first := []string{"first  2/4…", "  ✓ FROM busybox AS first…", "  ✓ ARG G1 G2…"}
	parts := []string{"      part 1", "      part 2", "      part 3", "      part 4", "      part 5", "      part 6"}
	term.is(slices.Concat(first, []string{"  ▸ RUN for…"}, parts, waits)...)

	pass()
	pass = g2.arrives()
	term.shows("▸ RUN nc 127.0.0.1 $G2")
	term.frames(2)
	first[0] = "first  3/4…"
	term.is(slices.Concat(first, []string{"  ✓ RUN for…", "  ▸ RUN nc…"}, waits)...)

	pass()
	pass = g3.arrives()
	term.shows("▸ RUN nc 127.0.0.1 $G3")
	term.frames(1)
	if text := term.frames(2); strings.Contains(text, "busybox AS first") {
		t.Errorf("a stage that is finished is drawn again: %q", text)
	}
	first[0] = "first  4/4…"
	done := slices.Concat(first, []string{"  ✓ RUN for…", "  ✓ RUN nc…"})
	second := []string{"  ✓ FROM busybox AS second…", "  ✓ ARG G3…", "  ✓ COPY --from=first /bin /first…"}
	term.is(slices.Concat(done, []string{"second  3/4…"}, second, []string{"  ▸ RUN nc…", "Building app…"})...)

	pass()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	term.is(slices.Concat(done, []string{"second  4/4…"}, second, []string{"  ✓ RUN nc…", "Built app:latest…"})...)
}

// Of more stages than there are job slots those that run are shown as running,
// and the others as waiting.
func TestTerminalShowsWhoWaitsForAJobSlot(t *testing.T) {
	s, dir := newContext(t, `FROM busybox AS one
ARG GATE
RUN nc 127.0.0.1 $GATE; echo one
FROM busybox AS other
ARG GATE
RUN nc 127.0.0.1 $GATE; echo other
FROM scratch
COPY --from=one / /
COPY --from=other / /
`)
	g := newGate(t)
	term := start(t, s, 80, 24, []string{"--jobs=1", g.arg("GATE"), "-t", "app", dir})
	pass := g.arrives()
	screen := term.shows("waits for its turn", "▸ RUN nc", "· RUN nc")
	once(t, screen, "waits for its turn", "▸ RUN nc", "· RUN nc")
	pass()
	pass = g.arrives()
	term.shows("✓ RUN nc", "▸ RUN nc")
	pass()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
