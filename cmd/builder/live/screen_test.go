package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/builder-oci/builder/stage"
)

// begun is when the builds of these tests begin.
var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(seconds float64) time.Time {
	return begun.Add(time.Duration(seconds * float64(time.Second)))
}

// in is the n-th step of a stage of four.
func in(number int, name string, n int) stage.Step {
	return stage.Step{Stage: name, N: 4*number + n, Total: 12, Of: 4, Place: stage.Place{Stage: number, N: n - 2}}
}

// halfway is a build of three stages with a pull.
func halfway() *Model {
	m := &Model{Title: "Building app", Begun: begun}
	m.Start(begun, in(2, "2", 1), "FROM tools")
	m.Wait(begun, in(2, "2", 1), "tools")
	m.Start(begun, in(0, "tools", 1), "FROM debian")
	m.Finish(after(1), in(0, "tools", 1))
	m.Start(after(1), in(0, "tools", 2), "COPY go.mod go.sum ./")
	m.Reuse(after(1), in(0, "tools", 2))
	m.Finish(after(1), in(0, "tools", 2))
	m.Start(after(1), in(0, "tools", 3), "RUN make")
	m.Note(after(1), in(0, "tools", 3), "Not cached: main.c changed")
	for n := range 8 {
		m.Print(after(2), in(0, "tools", 3), fmt.Sprintf("\x1b[32mcc -O2 -c\x1b[0m file%d.c", n))
	}
	m.Stand(after(3), in(0, "tools", 3), "linking 10%\rlinking 日本語 90%")
	m.Begin(begun, "pull nginx", "pulling nginx")
	m.Transfer(begun, "pull nginx", "0123456789ab", 15e6, 30e6, false)
	m.Transfer(begun, "pull nginx", "ba9876543210", 10e6, 10e6, true)
	m.Start(after(1), in(1, "assets", 1), "COPY assets /")
	m.Copy(after(2), in(1, "assets", 1), 25e7, 1e9)
	return m
}

func TestScreenShowsWhatGoesOn(t *testing.T) {
	for _, test := range []struct {
		size Size
		want string
	}{
		{Size{80, 24}, `
tools  2/4, 1 cached                                                      12.3s
  ✓ FROM debian                                                            1.0s
  ✓ COPY go.mod go.sum ./                                                cached
  ▸ RUN make                                                              11.3s
      Not cached: main.c changed
      cc -O2 -c file3.c
      cc -O2 -c file4.c
      cc -O2 -c file5.c
      cc -O2 -c file6.c
      cc -O2 -c file7.c
      linking 日本語 90%
assets  0/4                                                               11.3s
  ▸ COPY assets /                                                         11.3s
      ▕██████████                            ▏ 250MB / 1GB
stage 2  0/4                                                    waits for tools
  · FROM tools
▸ pulling nginx  25MB / 40MB                                              12.3s
  0123456789ab ▕███████████████████                   ▏ 15MB / 30MB
Building app 2/12 steps, 1 cached                                         12.3s`},
		{Size{40, 10}, `
tools  2/4, 1 cached              12.3s
  ▸ RUN make                      11.3s
      linking 日本語 90%
assets  0/4                       11.3s
  ▸ COPY assets /                 11.3s
      ▕█████              ▏ 250MB / 1GB
▸ pulling nginx  25MB / 40MB      12.3s
… 1 more
Building app 2/12 steps, 1 cached 12.3s`},
		{Size{20, 5}, `
▸ tools: RUN… 11.3s
▸ assets: CO… 11.3s
… 2 more
Building app… 12.3s`},
		{Size{20, 2}, `
Building app… 12.3s`},
		{Size{8, 5}, `
▸ tool…
▸ asse…
… 2 mo…
Buildi…`},
		{Size{1, 1}, "\n"},
	} {
		t.Run(fmt.Sprintf("%dx%d", test.size.Width, test.size.Height), func(t *testing.T) {
			lines := Style{Unicode: true}.Screen(halfway(), test.size, after(12.34))
			if got := "\n" + strings.Join(lines, "\n"); got != test.want {
				t.Errorf("the screen is %s\nnot %s", got, test.want)
			}
			for _, line := range lines {
				if ansi.StringWidth(line) >= max(test.size.Width, 2) {
					t.Errorf("wider than %d: %q", test.size.Width-1, line)
				}
			}
		})
	}
}

func TestScreenNeverExceedsTheTerminal(t *testing.T) {
	m := halfway()
	for n := range 30 {
		m.Start(after(1), in(n, fmt.Sprint("stage-", n), 3), "RUN sleep 1")
		m.Print(after(1), in(n, fmt.Sprint("stage-", n), 3), strings.Repeat("ﷺ🧑‍🧑‍🧒é❤️क्षि👍🏽", 40))
	}
	for _, s := range []Style{{}, {Color: true, Unicode: true}} {
		for width := 1; width < 130; width += 1 + width/8 {
			for height := 1; height < 70; height += 3 {
				lines := s.Screen(m, Size{width, height}, after(5000))
				if len(lines) > max(1, height-1) {
					t.Fatalf("%d lines for %dx%d", len(lines), width, height)
				}
				for _, line := range lines {
					// Terminals count characters, or clusters of them.
					if w := max(ansi.StringWidthWc(line), ansi.StringWidth(line)); w >= max(width, 2) {
						t.Fatalf("%d cells for a width of %d: %q", w, width, line)
					}
				}
			}
		}
	}
}

func TestScreenPrefersWhatRuns(t *testing.T) {
	m := &Model{Title: "Building", Begun: begun}
	for n := range 20 {
		at := in(n, fmt.Sprintf("s%02d", n), 1)
		m.Start(begun, at, "FROM base")
		if n%5 != 4 {
			m.Wait(begun, at, "base")
			continue
		}
		m.Finish(begun, at)
		m.Start(begun, in(n, at.Stage, 2), fmt.Sprint("RUN make ", n))
	}
	const want = `▸ s04: RUN make 4                  1.0s
▸ s09: RUN make 9                  1.0s
▸ s14: RUN make 14                 1.0s
▸ s19: RUN make 19                 1.0s
… 16 more
Building 4/12 steps                1.0s`
	if got := strings.Join(Style{Unicode: true}.Screen(m, Size{40, 7}, after(1)), "\n"); got != want {
		t.Errorf("the screen is\n%s\nnot\n%s", got, want)
	}
}

func TestScreenInASCIIWithoutColor(t *testing.T) {
	for _, line := range (Style{}).Screen(halfway(), Size{60, 30}, after(60)) {
		for _, r := range line {
			if r == '\x1b' || r > '~' && !strings.ContainsRune("日本語", r) {
				t.Errorf("%q in %q", r, line)
			}
		}
	}
}

func TestScreenPaints(t *testing.T) {
	screen := strings.Join(Style{Color: true}.Screen(halfway(), Size{80, 24}, after(2)), "\n")
	for _, want := range []string{
		"\x1b[2mcc -O2 -c file7.c\x1b[0m",
		"\x1b[36m+ COPY go.mod",
		"\x1b[32m+ FROM debian",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q isn't in\n%s", want, screen)
		}
	}
}

func TestFinishedStagesLeaveTheView(t *testing.T) {
	m := halfway()
	m.Finish(after(20), in(0, "tools", 3))
	m.FinishStage(after(20), in(0, "tools", 4))
	m.End(after(21), "pull nginx", "pulled nginx")
	var lines []string
	for _, g := range m.takeFinished() {
		lines = append(lines, Style{Unicode: true}.finished(g, 49, after(30))...)
	}
	const want = `tools  3/4, 1 cached                        20.0s
  ✓ FROM debian                              1.0s
  ✓ COPY go.mod go.sum ./                  cached
  ✓ RUN make                                19.0s
      Not cached: main.c changed
✓ pulled nginx  40MB                        21.0s`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("printed\n%s\nnot\n%s", got, want)
	}
	if screen := strings.Join((Style{}).Screen(m, Size{80, 24}, after(30)), "\n"); strings.Contains(screen, "tools  3/4") {
		t.Errorf("the stage is still in the view:\n%s", screen)
	}
}

func TestFailureKeepsItsWholeLastOutput(t *testing.T) {
	m := halfway()
	for n := range 100 {
		m.Print(after(4), in(0, "tools", 3), fmt.Sprint("line ", n))
	}
	m.Stand(after(4), in(0, "tools", 3), "and no end")
	m.Fail(after(5), in(0, "tools", 3))
	m.stop(after(6))
	groups := m.takeAll()
	last := groups[len(groups)-1]
	if !last.printedFailure() || last.name != "tools" {
		t.Fatalf("the last is %q", last.name)
	}
	var want strings.Builder
	fmt.Fprintf(&want, "  x RUN make                                 4.0s\n      Not cached: main.c changed\n")
	for n := range tailLines {
		fmt.Fprintf(&want, "      line %d\n", 100-tailLines+n)
	}
	want.WriteString("      and no end")
	if got := strings.Join((Style{}).finished(last, 49, after(9)), "\n"); !strings.HasSuffix(got, want.String()) {
		t.Errorf("printed\n%s\nnot\n%s", got, want.String())
	}
	var lines []string
	for _, g := range groups[:len(groups)-1] {
		lines = append(lines, (Style{}).finished(g, 49, after(9))...)
	}
	const others = `assets  0/4                                  5.0s
  - COPY assets /                         stopped
stage 2  0/4                                 6.0s
  - FROM tools                            stopped
- pulling nginx                              6.0s`
	if got := strings.Join(lines, "\n"); got != others {
		t.Errorf("of the others\n%s\nnot\n%s", got, others)
	}
}

func TestTriggersAreNotCounted(t *testing.T) {
	m := &Model{Title: "Building", Begun: begun}
	at := stage.Step{N: 1, Total: 2, Of: 2, Place: stage.Place{N: -1}}
	m.Start(begun, at, "FROM base")
	m.Finish(begun, at)
	at.Place.N = 0
	m.Print(begun, at, "triggered")
	screen := strings.Join((Style{}).Screen(m, Size{40, 9}, after(1)), "\n")
	if !strings.Contains(screen, "> ONBUILD") || !strings.Contains(screen, "triggered") {
		t.Errorf("the trigger isn't shown:\n%s", screen)
	}
	m.Finish(begun, at)
	if screen := strings.Join((Style{}).Screen(m, Size{40, 9}, after(1)), "\n"); !strings.Contains(screen, "Building 1/2 steps") {
		t.Errorf("it is counted:\n%s", screen)
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0s"},
		{999 * time.Millisecond, "0.9s"},
		{59990 * time.Millisecond, "59.9s"},
		{61 * time.Second, "1m01s"},
		{3*time.Hour + 62*time.Second, "3h01m"},
	} {
		if got := Duration(test.d); got != test.want {
			t.Errorf("%v is %s, not %s", test.d, got, test.want)
		}
	}
}
