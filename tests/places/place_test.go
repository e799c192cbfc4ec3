package places

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/tests/rootfs"
)

// gate is set by tests/env/places.sh, which sees to what the tests need.
const gate = "BUILDER_PLACES"

var (
	update = flag.Bool("update", false, "write docs/places.md's table anew, for the places that were tested")

	// ground is what all tests of a run share.
	ground struct {
		dir  string // removed at its end
		base string // a tarball of a small root file system
	}
)

//go:embed testdata/probe.sh
var probe string

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(gate) == "" {
		fmt.Println("places are made as root: run `make test-places`")
		return
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "places:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Getuid() != 0 {
		return 0, errors.New("places are made as root: run `make test-places`")
	}
	if ground.dir, err = os.MkdirTemp("", "places"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(ground.dir)) }()
	if err := os.Chmod(ground.dir, 0o755); err != nil {
		return 0, err
	}
	ground.base = filepath.Join(ground.dir, "base.tar")
	if err := rootfs.Busybox(ground.base); err != nil {
		return 0, err
	}
	code = m.Run()
	return code, table.finish(*update)
}

// result is what one step of a place said.
type result struct {
	code   int
	output string
}

// results are those of the probe, by the step's name.
type results map[string]result

var stepLine = regexp.MustCompile(`(?m)^## ([a-z-]+) (\d+)\n`)

func parseResults(output string) results {
	all := results{}
	marks := stepLine.FindAllStringSubmatchIndex(output, -1)
	for i, m := range marks {
		end := len(output)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		code, _ := strconv.Atoi(output[m[4]:m[5]]) // digits only
		all[output[m[2]:m[3]]] = result{code, strings.TrimSpace(output[m[1]:end])}
	}
	return all
}

// report is what doctor's JSON has, as far as it is used here.
type report struct {
	Checks   []struct{ Check, State string }
	Commands struct{ Root, User, Other []string }
}

// ofThisMachine are checks whose outcome the machine that makes the places decides.
var ofThisMachine = regexp.MustCompile(`^(limit-.*|space|memory|clock|emulators)$`)

// verdict is the exit code that doctor would have on a machine with cgroups of
// version 2, and enough room.
func (r report) verdict() int {
	worst := 0
	for _, c := range r.Checks {
		if !ofThisMachine.MatchString(c.Check) {
			worst = max(worst, map[string]int{"less": 1, "fails": 2}[c.State])
		}
	}
	return worst
}

func (r results) doctor(t *testing.T) report {
	t.Helper()
	var said report
	if err := json.Unmarshal([]byte(r["doctor-json"].output), &said); err != nil {
		t.Errorf("builder doctor --format json: %v: %s", err, r["doctor-json"].output)
	}
	return said
}

// choices are the values of `builder info`.
type choices struct{ Isolation, Storage, Mapping, Network string }

func (r results) choices(t *testing.T) choices {
	t.Helper()
	type choice struct{ Value string }
	var info struct {
		Isolation, Network, Mapping choice
		Driver                      choice `json:"storage_driver"`
	}
	if err := json.Unmarshal([]byte(r["info"].output), &info); err != nil {
		t.Errorf("builder info: %v: %s", err, r["info"].output)
	}
	return choices{
		Isolation: before(info.Isolation.Value, " ("),
		Storage:   info.Driver.Value,
		Mapping:   before(info.Mapping.Value, ", "),
		Network:   before(info.Network.Value, ", "),
	}
}

func before(s, mark string) string {
	s, _, _ = strings.Cut(s, mark)
	return s
}

// want is what has to come out in a place. A step that isn't named works; one
// that is has to be refused in words that the regular expression matches.
type want struct {
	choices
	doctor  int // its verdict
	refused map[string]string
	says    []string // what doctor's output matches
}

// steps are those of the probe that a place may refuse.
var steps = []string{"copy", "run", "owners", "emulated", "proc", "container"}

// expect holds what the probe printed in a place against what is wanted, and gives
// the place a row in the table.
func (w want) expect(t *testing.T, place, output string) results {
	t.Helper()
	r := w.hold(t, output)
	table.add(t, place, r)
	return r
}

func (w want) hold(t *testing.T, output string) results {
	t.Helper()
	r := parseResults(output)
	if len(r) == 0 {
		t.Fatalf("the place couldn't be made:\n%s", output)
	}
	var wrong []error
	if got := r.choices(t); got != w.choices {
		wrong = append(wrong, fmt.Errorf("builder chose %+v, not %+v", got, w.choices))
	}
	for _, step := range append([]string{"base"}, steps...) {
		wrong = append(wrong, w.holdStep(step, r[step]))
	}
	wrong = append(wrong, w.holdDoctor(r["doctor"], r.doctor(t).verdict())...)
	if err := errors.Join(wrong...); err != nil {
		t.Errorf("%v\n\nAll that was printed:\n%s", err, output)
	} else {
		t.Logf("builder doctor says:\n%s", r["doctor"].output)
	}
	return r
}

func (w want) holdStep(step string, got result) error {
	words, refused := w.refused[step]
	switch {
	case refused && got.code == 0:
		return fmt.Errorf("%s wasn't refused", step)
	case refused && !matches(words, got.output):
		return fmt.Errorf("%s was refused in other words than %q:\n%s", step, words, got.output)
	case !refused && got.code != 0:
		return fmt.Errorf("%s: exit code %d:\n%s", step, got.code, got.output)
	}
	return nil
}

func (w want) holdDoctor(got result, verdict int) (wrong []error) {
	if verdict != w.doctor || got.code < verdict {
		wrong = append(wrong, fmt.Errorf("doctor's verdict is %d, its exit code %d; not %d", verdict, got.code, w.doctor))
	}
	for _, words := range w.says {
		if !matches(words, got.output) {
			wrong = append(wrong, fmt.Errorf("doctor doesn't say %q", words))
		}
	}
	return wrong
}

func matches(words, text string) bool {
	return regexp.MustCompile(`(?ms)` + words).MatchString(text)
}

// script runs one of this directory's scripts, for at most as long as given, and
// gives all that it printed. Its exit code is the script's matter.
func script(t *testing.T, limit time.Duration, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./"+name, args...)
	// Its children end with it.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	if ctx.Err() != nil {
		t.Fatalf("%s didn't end within %s:\n%s", name, limit, out.String())
	}
	return out.String()
}
