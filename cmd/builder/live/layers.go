package live

import (
	"fmt"
	"os"
	"time"
)

// Layers draws the layers of an image on their way, a line each, in docker's
// words and with a bar while bytes come. It may be used by several goroutines.
type Layers struct {
	drawing
	style  Style
	layers []*layerLine
}

// layerLine is one layer: its short digest, what happens to it, and how far that
// has come.
type layerLine struct {
	label string
	words string
	bar   *bar
	moves bool // something still happens to it
}

// StartLayers begins to draw layers on a terminal.
func StartLayers(terminal *os.File, style Style) *Layers {
	l := &Layers{drawing: drawing{terminal: terminal, reflows: style.Reflows}, style: style}
	l.frame = func(size Size, _ time.Time) (settled, lines []string) { return nil, l.style.layers(l.layers, size) }
	l.start()
	return l
}

// Set says what happens to a layer, whose line comes below the others where it is
// new. Total is how many bytes there are, of which done are here; 0 draws no bar.
// Moves says that it isn't the end.
func (l *Layers) Set(label, words string, done, total int64, moves bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.line(label)
	line.words, line.moves, line.bar = words, moves, nil
	if total > 0 {
		line.bar = &bar{done: done, total: total}
	}
}

func (l *Layers) line(label string) *layerLine {
	for _, line := range l.layers {
		if line.label == label {
			return line
		}
	}
	line := &layerLine{label: label}
	l.layers = append(l.layers, line)
	return line
}

// Settle leaves the lines as they are on the terminal, and goes on below.
func (l *Layers) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.layers {
		lines = append(lines, l.style.layer(line, l.size().Width-1))
	}
	l.layers = nil
	l.flush(lines, nil)
}

// Close ends the drawing; its lines stay.
func (l *Layers) Close() {
	l.Settle()
	l.Discard()
}

// layers gives the lines for which there is room: where there are more, what
// still moves goes before the rest.
func (s Style) layers(all []*layerLine, size Size) []string {
	var rows []row
	for _, line := range all {
		rank := rankDone
		if line.moves {
			rank = rankWaiting
		}
		if line.bar != nil {
			rank = rankRunning
		}
		rows = append(rows, row{&group{}, rank, func(bool) string { return s.layer(line, size.Width-1) }, true})
	}
	room := size.Height - 2
	if room < 1 {
		return nil
	}
	chosen, hidden := choose(rows, room)
	var lines []string
	for _, r := range chosen {
		lines = append(lines, r.text(true))
	}
	if hidden > 0 {
		lines = append(lines, s.paint(faint, s.clip(fmt.Sprintf("%s %d more", s.signs().more, hidden), size.Width-1)))
	}
	return lines
}

// layer is the line of a layer.
func (s Style) layer(l *layerLine, width int) string {
	text := l.label + ": " + l.words
	if l.bar == nil {
		return s.clip(text, width)
	}
	return s.bar(&bar{label: text, done: l.bar.done, total: l.bar.total}, width)
}
