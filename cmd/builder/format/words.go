package format

import (
	"time"

	"github.com/charmbracelet/x/ansi"
	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
)

// ShortLen is the number of an id's digits that docker shows.
const ShortLen = 12

// ShortID gives the first digits of an id.
func ShortID(id digest.Digest) string {
	hex := id.Encoded()
	return hex[:min(ShortLen, len(hex))]
}

// Size is bytes in docker's decimal units, to three digits: 279MB.
func Size(bytes int64) string {
	return units.HumanSizeWithPrecision(float64(bytes), 3)
}

// LongSize is Size to four digits, as docker has some.
func LongSize(bytes int64) string { return units.HumanSize(float64(bytes)) }

// Ellipsis cuts a text to so many of a terminal's cells, the last of which then
// says so.
func Ellipsis(text string, cells int) string { return ansi.Truncate(text, cells, "…") }

// Ago is the time since t in docker's words: "23 minutes ago". The zero time
// is none.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(now.Sub(t)) + " ago"
}
