package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
)

// shortLen is the number of an id's digits that docker shows.
const shortLen = 12

// shortID gives the first digits of an id.
func shortID(id digest.Digest) string {
	hex := id.Encoded()
	return hex[:min(shortLen, len(hex))]
}

// size is bytes in docker's decimal units, to three digits: 279MB.
func size(bytes int64) string {
	return units.HumanSizeWithPrecision(float64(bytes), 3)
}

// ago is the time since t in docker's words: "23 minutes ago". The zero time
// is none.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(now.Sub(t)) + " ago"
}

// table prints rows in columns as wide as docker makes them.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}
