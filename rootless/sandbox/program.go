package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long a runtime that is to be killed may take to tell the
	// program's process id, before it is killed itself.
	patience = 2 * time.Second
	// pause lies between two looks at what can't be waited for.
	pause = 5 * time.Millisecond
)

// program is the first process of a sandbox, as seen from outside. As soon as
// the runtime has told its process id it is held by a pidfd: so it can be ended
// when the runtime is dead, and the number another's.
type program struct {
	runtime *os.Process
	pidFile string
	pidNS   bool
	ipc     string // its ipc namespace, where that must stand in for a pid namespace

	told chan struct{} // closed when fd is settled
	fd   int           // -1 where the program has ended, or the kernel has no pidfds
}

// newProgram is for the program that a runtime which was just started will
// start.
func newProgram(o *OCI, runtime *os.Process, pidFile string) *program {
	return &program{
		runtime: runtime, pidFile: pidFile, pidNS: o.pidNS, ipc: o.ipcOf(runtime.Pid),
		told: make(chan struct{}), fd: -1,
	}
}

// byIPC tells whether an ipc namespace stands in for a pid namespace.
func (o *OCI) byIPC() bool { return !o.pidNS && !o.plain }

// ipcOf gives the ipc namespace of a runtime that has one of its own, "" where a
// pid namespace makes that needless.
func (o *OCI) ipcOf(pid int) string {
	if !o.byIPC() {
		return ""
	}
	ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", pid))
	return ns
}

func (p *program) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// hold takes hold of the program when the runtime has told its process id. Of a
// runtime that ended before, the program is sought: runc tells only when that
// runs already.
func (p *program) hold(ended <-chan struct{}) {
	defer close(p.told)
	for {
		if pid := p.number(); pid > 0 {
			p.fd = p.open(pid)
			return
		}
		select {
		case <-ended:
			p.fd = p.seek()
			return
		case <-time.After(pause):
		}
	}
}

// open gives a pidfd of the program, -1 where it has ended: then another
// process may have taken over the number.
func (p *program) open(pid int) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	if parent(pid) != p.runtime.Pid && (!p.pidNS || !isOrphan(pid)) {
		_ = unix.Close(fd)
		return -1
	}
	return fd
}

// seek gives a pidfd of a program whose runtime has ended, -1 where there is
// none.
func (p *program) seek() int {
	if pid := p.number(); pid > 0 {
		return p.open(pid)
	}
	for _, pid := range processes() {
		if now, err := lookUp(pid); err == nil && p.pidNS && !now.ended() && isOrphan(pid) {
			return p.open(pid)
		}
	}
	return -1
}

// isOrphan tells whether a process is a program whose runtime has died: it is
// our child then, and the only kind in a pid namespace of its own. (Where there
// is none, killRest finds it.) One of another sandbox that runs beside this one
// is to be killed just the same.
func isOrphan(pid int) bool { return parent(pid) == os.Getpid() && isNested(pid) }

// watch passes signals on, and kills the program when ctx ends, until over is
// closed. Signals go to the program directly: a runtime has moments in which
// one would kill it and orphan what it started.
func (p *program) watch(ctx context.Context, signals <-chan os.Signal, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			p.kill()
			return
		case sig, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			if number, ok := sig.(unix.Signal); ok {
				p.signal(number)
			}
		}
	}
}

// signal sends a signal as soon as the program is there.
func (p *program) signal(sig unix.Signal) bool {
	select {
	case <-p.told:
	case <-time.After(patience):
		return false
	}
	if p.fd >= 0 {
		return unix.PidfdSendSignal(p.fd, sig, nil, 0) == nil
	}
	pid := p.pid()
	return pid > 0 && unix.Kill(pid, sig) == nil
}

// kill ends the program, and with it its pid namespace.
func (p *program) kill() {
	if !p.signal(unix.SIGKILL) {
		_ = p.runtime.Kill()
	}
}

// end kills the program where it has outlived the runtime, and returns when it
// has ended.
func (p *program) end() {
	if p.fd >= 0 {
		_ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0)
		p.wait()
	}
}

// wait returns when the program has ended.
func (p *program) wait() {
	if p.fd < 0 {
		for p.pid() > 0 {
			time.Sleep(pause)
		}
		return
	}
	for errors.Is(pollIn(p.fd), unix.EINTR) { // readable at its end
	}
}

func pollIn(fd int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	return err
}

// pid gives the program's process id: 0 as long as the runtime hasn't told it,
// and when either has ended. (A child of another than the runtime has taken over
// the number.)
func (p *program) pid() int {
	pid := p.number()
	if pid == 0 || parent(pid) != p.runtime.Pid {
		return 0
	}
	return pid
}

// number gives the process id that the runtime has written down, or 0.
func (p *program) number() int { return readPID(p.pidFile) }

func readPID(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// endRest kills what the program left behind as soon as it has ended, where no
// pid namespace does it. crun waits for all of it.
func (p *program) endRest() {
	<-p.told
	p.wait()
	killRest(p.ipc, p.runtime.Pid)
}

// killRest kills every process in a sandbox's ipc namespace but the runtime,
// until there is none.
func killRest(ipc string, runtime int) {
	for found := ipc != ""; found; {
		found = false
		for _, pid := range processes() {
			if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", pid)); err != nil || ns != ipc {
				continue
			}
			if pid != runtime && pid != os.Getpid() { // a thread of ours may have been there, see runInside
				found = unix.Kill(pid, unix.SIGKILL) == nil || found
			}
		}
	}
}
