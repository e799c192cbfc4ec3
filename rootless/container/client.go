package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Client is a connection to a container's monitor, for one request.
type Client struct{ conn *conn }

// Dial reaches the monitor of the container id in the directory dir of all. It
// fails with ErrNotRunning where there is none.
func Dial(dir, id string) (*Client, error) {
	d, err := os.Open(filepath.Join(dir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Unknown(short(id))
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	c, err := net.DialUnix("unix", nil, socketAddr(d))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the monitor of container %s: %w", short(id), err)
	}
	return &Client{&conn{UnixConn: c}}, nil
}

// ErrEnded says that a monitor has ended before it answered: the container's state
// tells what has become of that.
var ErrEnded = errors.New("the container's monitor has ended")

// ErrNotRunning says that a container has no program.
var ErrNotRunning = errors.New("the container is not running")

// Close ends the connection; who is attached is so no more.
func (c *Client) Close() error { return c.conn.Close() }

// ask sends a request and waits until it is done.
func (c *Client) ask(kind string, body any, files ...*os.File) error {
	if err := c.conn.send(kind, body, files...); err != nil {
		return c.lost(err)
	}
	answer, err := c.conn.receive()
	if err != nil {
		return c.lost(err)
	}
	answer.close()
	return answer.failure()
}

// failure gives the error that an answer tells.
func (m *message) failure() error {
	if m.Kind != kindError {
		return nil
	}
	var t told
	if err := m.decode(&t); err != nil {
		return err
	}
	return t.fault()
}

// lost explains a connection that has ended: a monitor that is killed says
// nothing.
func (c *Client) lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return ErrEnded
	}
	return err
}

// PID gives the monitor's process id.
func (c *Client) PID() (int, error) {
	cred, err := peer(c.conn.UnixConn)
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// Signal sends a signal to the program.
func (c *Client) Signal(sig unix.Signal) error {
	return c.ask(kindSignal, signalRequest{int(sig)})
}

// Stop has the program end by a signal, "" for the container's own, and kills it
// after a timeout in seconds, nil for the container's own. It returns when the
// container has ended.
func (c *Client) Stop(signal string, timeout *int) error {
	return c.ask(kindStop, stopRequest{signal, timeout})
}

// Restart has the program end as Stop does, and start again. It returns when that
// runs.
func (c *Client) Restart(signal string, timeout *int) error {
	return c.ask(kindRestart, stopRequest{signal, timeout})
}

// Pause keeps the programs from running until Resume.
func (c *Client) Pause() error { return c.ask(kindPause, nil) }

// Resume lets them go on.
func (c *Client) Resume() error { return c.ask(kindResume, nil) }

// Wait returns when the container's program has ended, though it may be started
// again.
func (c *Client) Wait() (Exit, error) {
	if err := c.conn.send(kindWait, nil); err != nil {
		return Exit{}, c.lost(err)
	}
	return c.End()
}

// End waits for the end of what the client has started, or is attached to.
func (c *Client) End() (Exit, error) {
	var exit Exit
	for {
		answer, err := c.conn.receive()
		if err != nil {
			return exit, c.lost(err)
		}
		answer.close()
		switch answer.Kind {
		case kindExit:
			return exit, answer.decode(&exit)
		case kindError:
			return exit, answer.failure()
		}
	}
}

// Say sends a signal to the program that the client is attached to.
func (c *Client) Say(sig unix.Signal) error { return c.conn.send(kindSignal, signalRequest{int(sig)}) }

// Resize gives its terminal another size.
func (c *Client) Resize(size unix.Winsize) error { return c.conn.send(kindResize, size) }

// Attach joins pipes to the program's streams: what is written to in it reads,
// and what it prints comes to out and err; each may be nil. They stay the
// caller's, who closes them at once. End tells the end.
func (c *Client) Attach(in, out, err *os.File, size unix.Winsize) error {
	r, files := newAttachRequest(in, out, err, size)
	return c.ask(kindAttach, r, files...)
}

func newAttachRequest(in, out, err *os.File, size unix.Winsize) (attachRequest, []*os.File) {
	var files []*os.File
	for _, f := range []*os.File{in, out, err} {
		if f != nil {
			files = append(files, f)
		}
	}
	return attachRequest{In: in != nil, Out: out != nil, Err: err != nil, Size: size}, files
}

// Inside runs a command of builder's own where the container's file system is
// mounted, with these streams, and gives its exit code. At the end of ctx it gets
// the signal that sig then gives. It fails with ErrNotRunning where the container
// has ended before that.
func (c *Client) Inside(ctx context.Context, r InsideRequest, in, out, err *os.File, sig func() unix.Signal) (int, error) {
	if err := c.ask(kindInside, r, in, out, err); errors.Is(err, ErrEnded) {
		return 0, ErrNotRunning // nothing has begun
	} else if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Say(sig()) })()
	exit, failed := c.End()
	return exit.Code, failed
}

// Sync sees to it that what programs have written can be read below the
// container's file system.
func (c *Client) Sync() error { return c.ask(kindSync, nil) }

// NewMonitor gives a client, and the other end of its connection, which a new
// monitor takes up by FirstClient.
func NewMonitor() (c *Client, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "monitor")
	ours, err := connAt(uintptr(fds[0]))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return &Client{ours}, theirs, nil
}

// Begin tells a new monitor what it is to make or start. Where attach is not nil
// its streams are the program's, as with Attach.
func (c *Client) Begin(request any, attach *Streams) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r := startRequest{Body: body}
	var files []*os.File
	if attach != nil {
		var a attachRequest
		a, files = newAttachRequest(attach.In, attach.Out, attach.Err, attach.Size)
		r.Attach = &a
	}
	if err := c.conn.send(kindStart, r, files...); err != nil {
		return c.lost(err)
	}
	return nil
}

// Streams are pipes' ends, and the size of the client's terminal.
type Streams struct {
	In, Out, Err *os.File
	Size         unix.Winsize
}

// Made waits until the container is there, and gives its id.
func (c *Client) Made() (id string, err error) {
	said, err := c.next()
	if err == nil {
		err = said.decode(&id)
	}
	return id, err
}

// Running waits until its program runs.
func (c *Client) Running() error {
	_, err := c.next()
	return err
}

func (c *Client) next() (*message, error) {
	said, err := c.conn.receive()
	if err != nil {
		return nil, c.lost(err)
	}
	said.close()
	return said, said.failure()
}
