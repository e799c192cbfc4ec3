package format

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Rows prints rows of text in columns as wide as docker makes them, the headings
// first, in one piece. It prints what text/tabwriter would, several times as fast.
func Rows(w io.Writer, rows [][]string) error {
	widths := columnWidths(rows)
	var b strings.Builder
	b.Grow(len(rows) * (sum(widths) + leastWidth))
	for _, row := range rows {
		for i, cell := range row {
			_, _ = oneLine.WriteString(&b, cell) // a Builder takes everything
			if i < len(row)-1 {
				b.WriteString(blanks(widths[i] - utf8.RuneCountInString(cell)))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, shown(b.String()))
	return err
}

// columnWidths are those of all columns but each row's last cell, which ends the
// line, with the space behind them.
func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row[:max(len(row)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, leastWidth)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell)+padding)
		}
	}
	return widths
}

// oneLine puts spaces where a cell would begin another one, or another line.
var oneLine = strings.NewReplacer("\t", " ", "\n", " ", "\v", " ", "\f", " ")

func sum(widths []int) (total int) {
	for _, w := range widths {
		total += w
	}
	return total
}

func blanks(n int) string {
	const some = "                                                                "
	if n <= len(some) {
		return some[:n]
	}
	return strings.Repeat(" ", n)
}
