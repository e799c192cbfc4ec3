package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
)

// shownTail is how many lines of a running step's output are shown at most.
const shownTail = 6

// Size is that of a terminal in cells.
type Size struct{ Width, Height int }

// row is a line that may be shown.
type row struct {
	group *group
	// rank is what decides where there are more rows than lines: the lower goes
	// first.
	rank int
	// text makes the line. It names the row's group where no line above does.
	text func(named bool) string
	head bool // the line that names the group
}

// The ranks of rows, of which older lines of a step's output and steps that are
// done are followed by others.
const (
	rankRunning = iota
	rankBar
	rankNewest // line of a step's output
	rankHead
	rankNote
	rankWaiting
	rankOlder  // lines of output, by their age
	rankAwaits = rankOlder + shownTail + iota
	rankDone   // steps, by their age
)

// Screen gives the lines of the view, which leave one of the terminal's free:
// what is still going on, and at the bottom how far all of it has come. Where
// there are more lines than fit, what runs goes before what waits, and that
// before what is done.
func (s Style) Screen(m *Model, size Size, now time.Time) []string {
	width := size.Width - 1 // the last column makes some terminals begin a line
	status := s.status(m, width, now)
	room := size.Height - 2
	if room < 1 {
		return []string{status}
	}
	var rows []row
	for _, g := range m.groups {
		rows = append(rows, s.rows(g, width, now)...)
	}
	chosen, hidden := choose(rows, room)
	var lines []string
	named := map[*group]bool{}
	for _, r := range chosen {
		named[r.group] = named[r.group] || r.head
		lines = append(lines, r.text(named[r.group]))
	}
	if hidden > 0 {
		lines = append(lines, s.paint(faint, s.clip(fmt.Sprintf("%s %d more", s.signs().more, hidden), width)))
	}
	return append(lines, status)
}

// choose takes the rows for which there is room, in their order. hidden counts
// the groups of which nothing is shown; there is a line left to say so.
func choose(rows []row, room int) (chosen []row, hidden int) {
	order := make([]int, len(rows))
	for i := range rows {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rows[a].rank, rows[b].rank) })
	shown := order[:min(room, len(order))]
	if hidden = missing(rows, shown); hidden > 0 {
		shown = order[:room-1]
		hidden = missing(rows, shown)
	}
	slices.Sort(shown)
	for _, i := range shown {
		chosen = append(chosen, rows[i])
	}
	return chosen, hidden
}

// missing counts the groups of which none of the chosen rows is.
func missing(rows []row, chosen []int) int {
	all, there := map[*group]bool{}, map[*group]bool{}
	for _, r := range rows {
		all[r.group] = true
	}
	for _, i := range chosen {
		there[rows[i].group] = true
	}
	return len(all) - len(there)
}

// status is the line at the bottom.
func (s Style) status(m *Model, width int, now time.Time) string {
	text := m.Title
	if m.total > 0 {
		text += fmt.Sprintf(" %d/%d steps", m.steps, m.total)
	}
	if m.cached > 0 {
		text += fmt.Sprintf(", %d cached", m.cached)
	}
	return s.paint(bold, s.spread(text, Duration(elapsed(m.Begun, time.Time{}, now)), width))
}

// rows gives the lines of a group.
func (s Style) rows(g *group, width int, now time.Time) []row {
	if len(g.steps) == 0 {
		return s.partRows(g, width, now)
	}
	var rows []row
	indent := 0
	if g.name != "" {
		rank := rankHead
		if g.waits() {
			rank = rankWaiting
		}
		rows = append(rows, row{g, rank, func(bool) string { return s.head(g, width, now) }, true})
		indent = 2
	}
	for i, st := range g.steps {
		age := len(g.steps) - i
		rows = append(rows, s.stepRows(g, st, age, indent, width, now)...)
	}
	return rows
}

// partRows are those of a group that isn't a stage.
func (s Style) partRows(g *group, width int, now time.Time) []row {
	rows := []row{{g, rankRunning, func(bool) string { return s.part(g, width, now) }, true}}
	for i, b := range g.bars {
		if !b.complete && b.done > 0 {
			rows = append(rows, row{g, rankNote + i, func(bool) string { return s.beneath(2, width, func(w int) string { return s.bar(b, w) }) }, false})
		}
	}
	return rows
}

// stepRows are the line of a step, what is told of it, and what it printed last.
func (s Style) stepRows(g *group, st *step, age, indent, width int, now time.Time) []row {
	inner := indent + 4
	add := func(rows []row, rank int, text func() string) []row {
		return append(rows, row{g, rank, func(bool) string { return text() }, false})
	}
	rank := rankRunning
	switch {
	case st.state == Waiting:
		rank = rankAwaits
	case !st.ended.IsZero() && st.state != Failed:
		rank = rankDone + age
	}
	rows := []row{{g, rank, func(named bool) string {
		if named || g.name == "" {
			return s.step(st, "", indent, width, now)
		}
		return s.step(st, g.name+": ", 0, width, now)
	}, false}}
	for _, note := range st.notes {
		rows = add(rows, max(rank, rankNote), func() string { return s.under(note, "", inner, width) })
	}
	if rank != rankRunning {
		return rows
	}
	if st.bar != nil {
		rows = add(rows, rankBar, func() string { return s.beneath(inner, width, func(w int) string { return s.bar(st.bar, w) }) })
	}
	tail := st.output()
	tail = tail[max(0, len(tail)-shownTail):]
	for i, line := range tail {
		rank := rankNewest
		if older := len(tail) - 1 - i; older > 0 {
			rank = rankOlder + older
		}
		rows = add(rows, rank, func() string { return s.under(line, faint, inner, width) })
	}
	return rows
}

// head is the line of a stage.
func (s Style) head(g *group, width int, now time.Time) string {
	done, cached := g.counts()
	text := fmt.Sprintf("%s  %d/%d", g.name, done, g.total)
	if cached > 0 {
		text += fmt.Sprintf(", %d cached", cached)
	}
	right := Duration(elapsed(g.begun, g.ended, now))
	if c := g.current(); c != nil && c.state == Waiting {
		right = s.clip("waits for "+c.awaits, max(narrowest, width/2))
	}
	return s.paint(bold, s.spread(text, right, width))
}

// step is the line of a step.
func (s Style) step(st *step, name string, indent, width int, now time.Time) string {
	signs := s.signs()
	sign, color := signs.running, ""
	right := Duration(elapsed(st.begun, st.ended, now))
	switch st.state {
	case Waiting:
		sign, color, right = signs.waiting, faint, ""
	case Done:
		sign, color = signs.done, green
	case Cached:
		sign, color, right = signs.done, cyan, "cached"
	case Failed:
		sign, color = signs.failed, red
	case Stopped:
		sign, right = signs.stopped, "stopped"
	}
	text := st.text
	if text == "" {
		text = "ONBUILD"
	}
	return s.beneath(indent, width, func(w int) string { return s.paint(color, s.spread(sign+" "+name+text, right, w)) })
}

// under is a line beneath a step.
func (s Style) under(text, attribute string, indent, width int) string {
	return s.beneath(indent, width, func(w int) string { return s.paint(attribute, s.clip(text, w)) })
}

// beneath indents a line, by less where that would leave nothing of it.
func (s Style) beneath(indent, width int, line func(width int) string) string {
	indent = min(indent, max(0, width/2))
	return strings.TrimRight(strings.Repeat(" ", indent)+line(width-indent), " ")
}

// part is the line of a group that isn't a stage.
func (s Style) part(g *group, width int, now time.Time) string {
	signs := s.signs()
	sign, color := signs.running, ""
	switch g.state {
	case Done:
		sign, color = signs.done, green
	case Stopped, Failed:
		sign = signs.stopped
	}
	text := sign + " " + g.what
	done, total := g.bytes()
	switch {
	case total > 0 && g.state == Running:
		text += fmt.Sprintf("  %s / %s", size(done), size(total))
	case total > 0 && g.state == Done:
		text += "  " + size(total)
	}
	return s.paint(color, s.spread(text, Duration(elapsed(g.begun, g.ended, now)), width))
}

// finished gives the lines of a group that is done with: each step in one, and
// all of the last output of one that failed.
func (s Style) finished(g *group, width int, now time.Time) []string {
	if len(g.steps) == 0 {
		return []string{s.part(g, width, now)}
	}
	var lines []string
	indent := 0
	if g.name != "" {
		lines, indent = append(lines, s.head(g, width, now)), 2
	}
	for _, st := range g.steps {
		if st.text == "" && st.state != Failed {
			continue
		}
		lines = append(lines, s.step(st, "", indent, width, now))
		for _, note := range st.notes {
			lines = append(lines, s.under(note, "", indent+4, width))
		}
		if st.state != Failed {
			continue
		}
		for _, line := range st.output() {
			lines = append(lines, strings.TrimRight(strings.Repeat(" ", indent+4)+line, " "))
		}
	}
	return lines
}

// Duration is a time in the fewest words.
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

func size(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }
