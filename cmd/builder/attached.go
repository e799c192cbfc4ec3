package main

import (
	"io"
	"os"
	"os/signal"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/builder-oci/builder/rootless/container"
)

// attached joins the user's standard streams to those of a container's program.
type attached struct {
	terminal bool     // the program has one, and the user as well
	in       *os.File // what the user types is written here; nil where nothing is
	streams  container.Streams
	reading  sync.WaitGroup // of what the program prints
}

func newAttached(r containerRequest) (*attached, error) {
	a := &attached{terminal: r.Terminal && isTerminal(os.Stdin)}
	if r.Detached {
		return a, nil
	}
	var err error
	if r.AttachedStdin {
		if a.streams.In, a.in, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if r.AttachedStdout {
		if a.streams.Out, err = a.print(os.Stdout); err != nil {
			return nil, err
		}
	}
	if r.AttachedStderr && !r.Terminal {
		if a.streams.Err, err = a.print(os.Stderr); err != nil {
			return nil, err
		}
	}
	if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil && a.terminal {
		a.streams.Size = *size
	}
	return a, nil
}

// print gives a pipe whose content goes to one of the user's streams.
func (a *attached) print(to *os.File) (theirs *os.File, err error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	a.reading.Go(func() {
		if _, err := io.Copy(to, ours); err != nil {
			_, _ = io.Copy(io.Discard, ours) // whoever read has gone: the program goes on
		}
		_ = ours.Close()
	})
	return theirs, nil
}

// begin has a new monitor make and start what is asked for, and waits until the
// program runs.
func (a *attached) begin(client *container.Client, request monitorRequest) (id string, err error) {
	s := &a.streams
	if s.In == nil && s.Out == nil && s.Err == nil {
		s = nil
	}
	err = client.Begin(request, s)
	for _, f := range []*os.File{a.streams.In, a.streams.Out, a.streams.Err} {
		if f != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return "", err
	}
	if id, err = client.Made(); err != nil {
		return "", err
	}
	return id, client.Running()
}

// follow passes on what the user types, resizes and signals, until the program's
// end.
func (a *attached) follow(_ *cli.Context, client *container.Client) (container.Exit, error) {
	if a.terminal {
		if state, err := term.MakeRaw(int(os.Stdin.Fd())); err == nil {
			defer func() { _ = term.Restore(int(os.Stdin.Fd()), state) }()
		}
	}
	if a.in != nil {
		go func() {
			_, _ = io.Copy(a.in, os.Stdin)
			_ = a.in.Close()
		}()
	}
	defer a.proxy(client)()
	exit, err := client.End()
	a.reading.Wait()
	return exit, err
}

// insistence is how many requests to end a program may ignore before it is
// killed. A program that is process 1 and handles no signals ignores every one.
const insistence = 3

// proxied are the signals that a program gets in place of this process.
var proxied = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

func (a *attached) proxy(client *container.Client) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, proxied...)
	done := make(chan struct{})
	go func() {
		asked := 0
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				number := s.(unix.Signal)
				switch {
				case number == unix.SIGWINCH:
					a.resize(client)
					continue
				case number == unix.SIGINT || number == unix.SIGTERM:
					if asked++; asked >= insistence {
						number = unix.SIGKILL
					}
				}
				_ = client.Say(number)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

func (a *attached) resize(client *container.Client) {
	if !a.terminal {
		return
	}
	if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = client.Resize(*size)
	}
}
