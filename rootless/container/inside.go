package container

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/userns"
)

// InsideRequest is a command of builder's own that is to be run where the
// container's file system is mounted.
type InsideRequest struct {
	Args []string // without the program's name
	Dir  string
	Env  []string `json:",omitempty"` // added to the monitor's
	// Pause keeps the container's programs from running meanwhile.
	Pause bool `json:",omitempty"`
}

// Such a command has in its environment where the container's file system is
// mounted, and which process is the container's program, in whose own namespace
// the volumes are mounted too; "" where none runs at the moment.
const (
	RootEnv    = "_BUILDER_CONTAINER_ROOT"
	ProcessEnv = "_BUILDER_CONTAINER_PROCESS"
)

// serveInside runs it with the client's streams. The container goes on
// afterwards, however it ends: that is seen to before the client hears of it.
func (m *Monitor) serveInside(ctx context.Context, c *conn, request *message) error {
	var r InsideRequest
	if err := request.decode(&r); err != nil {
		return err
	}
	code, err := m.runInside(ctx, c, r, request)
	if err != nil {
		return err
	}
	return c.send(kindExit, Exit{Code: code})
}

func (m *Monitor) runInside(ctx context.Context, c *conn, r InsideRequest, request *message) (code int, err error) {
	// The file system stays mounted meanwhile.
	m.visits.RLock()
	defer m.visits.RUnlock()
	rootfs, err := m.mountedAt()
	if err != nil {
		return 0, err
	}
	if r.Pause {
		thaw, err := m.hold()
		if err != nil {
			return 0, err
		}
		defer thaw()
	}
	if err := m.parts.Root.Sync(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", r.Args...)
	cmd.Args[0] = "builder"
	cmd.Dir = r.Dir
	cmd.Env = append(append(userns.Joining(), r.Env...), RootEnv+"="+rootfs, ProcessEnv+"="+m.process())
	give(cmd, request.files)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	request.close()
	if err := c.send(kindDone, nil); err != nil {
		cancel()
	}
	go passSignals(c, cmd.Process, cancel)
	_ = cmd.Wait() // how it ended is told by the state
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func (m *Monitor) sync() error {
	m.visits.RLock()
	defer m.visits.RUnlock()
	if _, err := m.mountedAt(); err != nil {
		return nil //nolint:nilerr // it isn't mounted: all is there
	}
	return m.parts.Root.Sync()
}

// give makes a client's files a command's standard streams.
func give(cmd *exec.Cmd, files []*os.File) {
	if len(files) == maxFiles {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	}
}

// passSignals passes on what the client says, until it goes: then nobody waits
// for the process any more.
func passSignals(c *conn, process *os.Process, gone func()) {
	for {
		said, err := c.receive()
		if err != nil {
			gone()
			return
		}
		said.close()
		var s signalRequest
		if said.Kind == kindSignal && said.decode(&s) == nil {
			_ = process.Signal(unix.Signal(s.Signal))
		}
	}
}

// process is the program's pid, or "".
func (m *Monitor) process() string {
	p, done, err := m.use()
	if err != nil {
		return ""
	}
	defer done()
	return strconv.Itoa(p.PID())
}

// mountedAt tells where the container's file system is mounted; the error is that
// of a container without a program.
func (m *Monitor) mountedAt() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rootfs == "" {
		return "", m.errNotRunning()
	}
	return m.rootfs, nil
}

func (m *Monitor) setMounted(rootfs string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rootfs = rootfs
}

// closeFiles keeps clients out of the container's file system, and waits for those
// who are in it.
func (m *Monitor) closeFiles() {
	m.setMounted("")
	m.visits.Lock()
	defer m.visits.Unlock()
}
