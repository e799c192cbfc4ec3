package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/detach"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// wishes say to which of a program's streams the user is to be attached.
type wishes struct {
	in, out, err bool
	terminal     bool   // the program has one
	detachKeys   []byte // leave it running, where it has a terminal
	proxy        bool   // signals are for the program
}

func (r containerRequest) wishes() wishes {
	return wishes{
		in: r.AttachedStdin, out: r.AttachedStdout, err: r.AttachedStderr,
		terminal: r.Terminal, detachKeys: r.DetachKeys, proxy: r.SigProxy,
	}
}

// attached joins the user's standard streams to those of a program. The zero value
// is for nobody.
type attached struct {
	wishes
	typed   *os.File // what the user types is written here; nil where nothing is
	streams container.Streams
	own     *os.File // the program's terminal, where it is had directly
	printed []printed
	reading sync.WaitGroup // of what the program prints
	ended   chan struct{}  // closed when the program has ended
	left    chan struct{}  // closed when the user has typed the keys for that
	hungUp  chan struct{}  // closed when the user's terminal has gone
	hanging sync.Once
	unread  chan struct{} // closed when nobody reads what is printed any more
	unheard sync.Once
}

// unattached is joined to nothing yet.
func unattached(w wishes) *attached {
	return &attached{
		wishes: w, ended: make(chan struct{}), left: make(chan struct{}), hungUp: make(chan struct{}), unread: make(chan struct{}),
	}
}

// ownTerminal is for a program whose terminal is had directly.
func ownTerminal(w wishes, terminal *os.File) *attached {
	a := unattached(w)
	a.own = terminal
	if w.in {
		a.typed = terminal
	}
	a.printed = []printed{{terminal, os.Stdout}}
	return a
}

func newAttached(w wishes) (a *attached, err error) {
	a = unattached(w)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if w.in {
		if a.streams.In, a.typed, err = os.Pipe(); err != nil {
			return a, err
		}
	}
	if w.out {
		if a.streams.Out, err = a.print(os.Stdout); err != nil {
			return a, err
		}
	}
	if w.err && !w.terminal {
		if a.streams.Err, err = a.print(os.Stderr); err != nil {
			return a, err
		}
	}
	if w.terminal {
		a.streams.Size = userSize()
	}
	return a, nil
}

// printed is what the program prints, and where that is shown.
type printed struct{ from, to *os.File }

// print gives a pipe whose content goes to one of the user's streams, once the
// program runs: before that a runtime complains there.
func (a *attached) print(to *os.File) (theirs *os.File, err error) {
	ours, theirs, err := os.Pipe()
	if err == nil {
		a.printed = append(a.printed, printed{ours, to})
	}
	return theirs, err
}

// show begins to show what the program prints.
func (a *attached) show() {
	for _, p := range a.printed {
		a.reading.Go(func() {
			if show(p.to, p.from, a.ended) != nil {
				a.unheard.Do(func() { close(a.unread) })
			}
			_ = p.from.Close()
		})
	}
}

// given gives the streams that are to be passed, nil where there are none.
func (a *attached) given() *container.Streams {
	if a.streams.In == nil && a.streams.Out == nil && a.streams.Err == nil {
		return nil
	}
	return &a.streams
}

// passed closes our copies of what was passed, so that it ends with the program.
func (a *attached) passed() {
	for _, f := range []**os.File{&a.streams.In, &a.streams.Out, &a.streams.Err} {
		if *f != nil {
			_ = (*f).Close()
			*f = nil
		}
	}
}

// close lets go of streams that were joined to nothing.
func (a *attached) close() error {
	a.passed()
	for _, p := range a.printed {
		_ = p.from.Close()
	}
	if a.typed != nil {
		return a.typed.Close()
	}
	return nil
}

// begun has a new monitor make and start what is asked for, and waits until the
// program runs, or else until what it printed before it failed is shown.
func (a *attached) begun(client *container.Client, request monitorRequest) (id string, err error) {
	err = client.Begin(request, a.given())
	a.passed()
	if err != nil {
		return "", err
	}
	if id, err = client.Made(); err != nil || !request.Start {
		return id, err
	}
	return id, client.Running()
}

// beginUnlessStopped is begun; a signal that comes meanwhile ends all of it.
func (a *attached) beginUnlessStopped(ctx context.Context, client *container.Client, request monitorRequest) (id string, err error) {
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	id, err = a.begun(client, request)
	if !stop() {
		return "", context.Cause(ctx)
	}
	return id, err
}

// errLeft says that the user has left the program running.
var errLeft = errors.New("read escape sequence")

// follow passes on what the user types, resizes and signals, until the program's
// end, or until the user leaves it.
func (a *attached) follow(ctx context.Context, client *container.Client) (container.Exit, error) {
	restore, err := a.makeRaw()
	if err != nil {
		return container.Exit{}, err
	}
	defer restore()
	defer a.watch(client)()
	a.show()
	if a.typed != nil {
		go a.pass()
	}
	type end struct {
		exit container.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := client.End()
		close(a.ended)
		a.reading.Wait()
		ended <- end{exit, err}
	}()
	var stopped <-chan struct{}
	if !a.proxy {
		stopped = ctx.Done()
	}
	select {
	case e := <-ended:
		return e.exit, e.err
	case <-a.left:
		return container.Exit{}, errLeft
	case <-stopped:
		return container.Exit{}, context.Cause(ctx)
	case <-a.unread:
		return container.Exit{}, errUnread
	case <-a.hungUp:
		return container.Exit{}, exitStatus(128 + int(unix.SIGHUP))
	}
}

// followUnlessLeft is follow to the exit code that docker's run has: to leave a
// program running is no error.
func (a *attached) followUnlessLeft(c *cli.Context, client *container.Client) error {
	exit, err := a.follow(c.Context, client)
	if errors.Is(err, errLeft) {
		_, err := fmt.Fprintln(c.App.ErrWriter, errLeft)
		return err
	}
	return containerExit(exit, err)
}

// pass passes on what the user types. Where that is a terminal's, keys may leave
// the program.
func (a *attached) pass() {
	in := io.Reader(os.Stdin)
	if a.terminal && len(a.detachKeys) > 0 {
		in = detach.NewReader(in, a.detachKeys, func() { close(a.left) })
	}
	_, _ = io.Copy(a.typed, in)
	if a.own == nil {
		_ = a.typed.Close()
	}
}

// insistence is how many requests to end a program may ignore before it is
// killed. A program that is process 1 and handles no signals ignores every one.
const insistence = 3

// proxied are the signals that a program gets in place of this process.
var proxied = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
}

// watch passes signals and sizes on until stop is called. Another handler has them
// end this process; it isn't asked while they are proxied.
func (a *attached) watch(client *container.Client) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGCONT)
	if a.proxy {
		signal.Notify(signals, proxied...)
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		asked := 0
		a.resize(client) // it may have changed when nobody listened
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				asked = a.handle(client, s.(unix.Signal), asked)
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(done)
		watching.Wait()
	}
}

// handle does what a signal asks for, and counts those that ask to end.
func (a *attached) handle(client *container.Client, s unix.Signal, asked int) int {
	switch s {
	case unix.SIGWINCH:
		a.resize(client)
		return asked
	case unix.SIGCONT:
		// Whoever has stopped us has made the terminal what the shell wants.
		_, _ = a.makeRaw()
		a.resize(client)
		if !a.proxy {
			return asked
		}
	case unix.SIGHUP:
		if a.terminal && a.in && !isTerminal(os.Stdin) {
			_ = client.Say(s)
			a.hangUp() // nothing can be typed or shown any more
			return asked
		}
	case unix.SIGINT, unix.SIGTERM:
		if asked++; asked >= insistence {
			s = unix.SIGKILL
		}
	}
	_ = client.Say(s)
	return asked
}

func (a *attached) hangUp() { a.hanging.Do(func() { close(a.hungUp) }) }

func (a *attached) resize(client *container.Client) {
	size := userSize()
	switch {
	case !a.terminal || size.Row == 0:
	case a.own != nil:
		_ = sandbox.SetWinsize(a.own, sandbox.Winsize{Rows: size.Row, Cols: size.Col})
	default:
		_ = client.Resize(size)
	}
}
