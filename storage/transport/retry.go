package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/docker/distribution/registry/api/errcode"
	"github.com/opencontainers/go-digest"
)

const (
	// tries is how often a request is made that fails for a while, and how often
	// in a row a blob's transfer breaks without having come further.
	tries = 5
	// silentTries is how often a blob is asked for that doesn't come at all.
	silentTries = 2
	// patience is how long a registry may leave a request without an answer, or
	// an answer without going on.
	patience = 30 * time.Second
	// pauses is how many pauses before a second try are one patience: half a
	// second. The pause is doubled for each further try.
	pauses = 60
	// longer is how much longer the whole of a manifest may take; it is also
	// more than the minute that the library waits at most before it asks again
	// where there were too many requests.
	longer = 3
	// settling is how much longer a registry may take to answer when it has got a
	// blob or a manifest: it digests what it got, and may bring it elsewhere.
	settling = 10
)

// errSilent is behind the error of a registry that doesn't answer.
var errSilent = errors.New("no answer")

// retrying makes requests again that may succeed in a moment.
type retrying struct {
	*reporter
	patience time.Duration
	pause    time.Duration // before the second try
}

func (o Options) retrying(r *reporter) retrying {
	patient := cmp.Or(o.Patience, patience)
	return retrying{r, patient, patient / pauses}
}

// ask calls fn, which makes requests one after another, and again after a pause
// while its error is a temporary one. The context that fn gets ends when the
// registry leaves a request without answer.
func (t retrying) ask(ctx context.Context, fn func(context.Context) error) error {
	return t.do(ctx, func() error {
		return t.watched(ctx, func(ctx context.Context, _ *watch) error { return fn(ctx) })
	})
}

// do calls fn, and again after a pause while its error is a temporary one.
func (t retrying) do(ctx context.Context, fn func() error) error {
	pause := t.pause
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try == tries || errors.Is(err, errSilent) || ctx.Err() != nil || !isTemporary(err) {
			return err
		}
		if err := t.wait(ctx, "", err, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// wait tells that something is tried again for an error, and lets the time pass.
func (t retrying) wait(ctx context.Context, blob digest.Digest, err error, pause time.Duration) error {
	t.tell(Event{Kind: Retrying, Digest: blob, Err: cause(err), Pause: pause})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}

// watched calls fn with a context that ends when a request isn't answered in time.
func (t retrying) watched(ctx context.Context, fn func(context.Context, *watch) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w := &watch{within: t.patience, answer: t.patience, end: end}
	defer w.rest()
	trace := &httptrace.ClientTrace{
		GetConn:              func(string) { w.expect(t.patience) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { w.expectAnswer() },
		GotFirstResponseByte: func() { w.expect(longer * t.patience) },
	}
	return silence(ctx, fn(httptrace.WithClientTrace(ctx, trace), w))
}

// silence gives errSilent in place of an error that comes of it.
func silence(ctx context.Context, err error) error {
	if why := context.Cause(ctx); err != nil && errors.Is(why, errSilent) {
		return why
	}
	return err
}

// watch ends a context when something that is expected doesn't happen. It may be
// used by several goroutines.
type watch struct {
	within time.Duration // that users are told of
	end    context.CancelCauseFunc

	mu     sync.Mutex
	timer  *time.Timer
	answer time.Duration // how long one may take
}

// sends says that from now on something is sent that takes a registry time.
func (w *watch) sends() {
	w.mu.Lock()
	w.answer = settling * w.within
	w.mu.Unlock()
}

func (w *watch) expectAnswer() {
	w.mu.Lock()
	within := w.answer
	w.mu.Unlock()
	w.expect(within)
}

// expect says that something is to happen within a time from now.
func (w *watch) expect(within time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(within, func() { w.end(fmt.Errorf("%w for %s", errSilent, w.within)) })
		return
	}
	w.timer.Reset(within)
}

// rest says that nothing has to happen.
func (w *watch) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// isTemporary tells whether the same request may succeed in a moment. Where there
// were too many requests the library has waited and asked again already.
func isTemporary(err error) bool {
	if errors.Is(err, errSilent) {
		return true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if dns := asDNS(err); dns != nil {
		return dns.IsTimeout || dns.IsTemporary
	}
	if registryCode(err) == errcode.ErrorCodeUnavailable {
		return true
	}
	var status interface{ Timeout() bool }
	switch {
	case isCutOff(err):
		return true
	case errors.As(err, &status) && status.Timeout():
		return true
	}
	return isServerError(err)
}

// isAway tells whether nobody listens at a registry's address, which is so for a
// moment when it is started again.
func isAway(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// isServerError tells answers of 500 and above, some of which the library gives
// only in words.
func isServerError(err error) bool {
	var status docker.UnexpectedHTTPStatusError
	if errors.As(err, &status) {
		return status.StatusCode >= 500
	}
	text := err.Error()
	for _, status := range []string{"500", "502", "503", "504"} {
		if strings.Contains(text, "status code "+status) || strings.Contains(text, "StatusCode: "+status) ||
			strings.Contains(text, "unexpected HTTP status: "+status) {
			return true
		}
	}
	return false
}
