package container

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// The real-time signals that programs may use: the C library keeps two.
const (
	firstRealTime = 34
	lastRealTime  = 64
)

// ParseSignal reads a signal as users write it: SIGTERM, TERM, 15, RTMIN+3.
func ParseSignal(text string) (unix.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if n, err := strconv.Atoi(name); err == nil {
		if n > 0 && n <= lastRealTime {
			return unix.Signal(n), nil
		}
		return 0, invalidSignal(text)
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	for prefix, from := range map[string]int{"RTMIN": firstRealTime, "RTMAX": lastRealTime} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			var err error
			if offset, err = strconv.Atoi(rest); err != nil {
				return 0, invalidSignal(text)
			}
		}
		if n := from + offset; n >= firstRealTime && n <= lastRealTime {
			return unix.Signal(n), nil
		}
	}
	return 0, invalidSignal(text)
}

func invalidSignal(text string) error {
	return fault.New("kill -l    # lists the names", "invalid signal: %s", text)
}
