package filter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// Until gives the earliest of the times that "until" says, or the zero time
// where there is none. See ParseTime.
func (s Set) Until(now time.Time) (time.Time, error) {
	var earliest time.Time
	for _, value := range s.values["until"] {
		t, ok := ParseTime(value, now)
		if !ok {
			return time.Time{}, &fault.Error{
				Err:    fmt.Errorf("invalid filter 'until=%s': failed to parse value as time or duration", value),
				Remedy: "write a span such as until=24h, or a time such as until=2026-01-31T08:30:00Z",
				Code:   1,
			}
		}
		if earliest.IsZero() || t.Before(earliest) {
			earliest = t
		}
	}
	return earliest, nil
}

// layouts are the forms of a date in docker, as long as one is given.
var layouts = []string{
	"2006-01-02", "2006-01-02T15", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04:05.999999999",
}

// ParseTime reads a time as docker does: a span before now (24h), a date or time,
// with or without its zone (2026-01-31, 2026-01-31T08:30:00Z), or seconds since
// 1970.
func ParseTime(value string, now time.Time) (t time.Time, ok bool) {
	if span, err := time.ParseDuration(value); err == nil && value != "0" {
		return now.Add(-span), true
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout+"Z07:00", value); err == nil {
			return t, true
		}
		if t, err := time.ParseInLocation(layout, value, now.Location()); err == nil {
			return t, true
		}
	}
	return unixTime(value)
}

// unixTime reads seconds since 1970, with or without a fraction.
func unixTime(value string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	nanoseconds, err := strconv.ParseUint("0"+fraction, 10, 63)
	if err != nil {
		return time.Time{}, false
	}
	scale := math.Pow10(9 - len(fraction))
	return time.Unix(seconds, int64(float64(nanoseconds)*scale)), true
}
