package main

import (
	"fmt"
	"io"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/builder-oci/builder/storage/transport"
)

// libraryKey is where the app keeps its libraryLog.
const libraryKey = "libraryLog"

// libraryLog hears what the libraries beneath log. They log by a package of their
// own, which the whole process has once; what they call errors they also return.
// But the registry library waits, and asks again, of which it says nothing but
// there: users are told of that by events.
type libraryLog struct {
	mu   sync.Mutex
	tell func(transport.Event)
}

// newLibraryLog has the libraries' logs printed, or only heard.
func newLibraryLog(w io.Writer, printed bool) *libraryLog {
	l := &libraryLog{}
	logrus.SetOutput(w)
	logrus.SetLevel(logrus.FatalLevel)
	if printed {
		logrus.SetLevel(logrus.DebugLevel)
	}
	return l
}

// listen begins to tell of waiting.
func (l *libraryLog) listen(tell func(transport.Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tell == nil {
		if logrus.GetLevel() < logrus.DebugLevel {
			logrus.SetOutput(io.Discard)
			logrus.SetFormatter(wordless{})
			logrus.SetLevel(logrus.DebugLevel)
		}
		logrus.AddHook(l)
	}
	l.tell = tell
}

// Levels are those at which the library says that it waits.
func (l *libraryLog) Levels() []logrus.Level {
	return []logrus.Level{logrus.InfoLevel, logrus.DebugLevel}
}

// Fire hears one line.
func (l *libraryLog) Fire(e *logrus.Entry) error {
	if event, waits := waitingOf(e.Message); waits {
		l.mu.Lock()
		tell := l.tell
		l.mu.Unlock()
		tell(event)
	}
	return nil
}

// wordless makes nothing of what nobody reads.
type wordless struct{}

// Format gives no bytes.
func (wordless) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// What containers/image v5.36 logs when it waits.
var (
	tooMany    = regexp.MustCompile(`^Too many requests to (.*): sleeping for ([0-9.]+) seconds`)
	reconnects = regexp.MustCompile(`^Reading blob body from .* failed \((.*)\), reconnecting`)
)

// waitingOf understands a line of the library's.
func waitingOf(line string) (transport.Event, bool) {
	e := transport.Event{Kind: transport.Retrying, Pause: time.Second}
	if m := tooMany.FindStringSubmatch(line); m != nil {
		host := "the registry"
		if u, err := url.Parse(m[1]); err == nil {
			host = u.Host
		}
		e.Err = fmt.Errorf("%s has had too many requests", host)
		if pause, err := time.ParseDuration(m[2] + "s"); err == nil {
			e.Pause = pause
		}
		return e, true
	}
	if m := reconnects.FindStringSubmatch(line); m != nil {
		e.Err = fmt.Errorf("the connection broke: %s", m[1])
		return e, true
	}
	return e, false
}
