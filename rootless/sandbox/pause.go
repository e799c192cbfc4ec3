package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// paused are the processes that Pause has stopped, where no cgroup can be frozen.
// The others that it has met, which had been stopped before, have the value false.
type paused struct {
	mu      sync.Mutex
	stopped map[identity]bool
}

// identity tells a process from a later one with its number.
type identity struct {
	pid  int
	born string
}

// Pause stops everything in the sandbox until Resume: by the freezer of its
// cgroup where it has one of its own, else by SIGSTOP, which its parent in the
// sandbox learns of.
func (p *Program) Pause() error {
	if p.bundle.group != nil {
		return p.bundle.group.Freeze(true)
	}
	p.paused.mu.Lock()
	defer p.paused.mu.Unlock()
	if p.paused.stopped == nil {
		p.paused.stopped = map[identity]bool{}
	}
	if err := p.stopAll(p.paused.stopped); err != nil {
		p.continueAll()
		return err
	}
	return nil
}

// Resume lets go on what Pause has stopped.
func (p *Program) Resume() error {
	if p.bundle.group != nil {
		return p.bundle.group.Freeze(false)
	}
	p.paused.mu.Lock()
	defer p.paused.mu.Unlock()
	p.continueAll()
	return nil
}

// stopAll stops each process in the sandbox. One that has been sent the signal
// can't start another any more, and what it had started before is seen by the
// second of two looks which found nothing new. On a machine with other things to
// do it may take a while until one is stopped that has been sent it.
func (p *Program) stopAll(stopped map[identity]bool) error {
	begun := time.Now()
	for quiet := 0; quiet < 2; quiet++ {
		fresh := p.stopNew(stopped)
		late := stopAgain(stopped)
		if fresh || late {
			quiet = -1
		}
		switch waited := time.Since(begun); {
		case late && waited > 10*patience:
			return fault.New("", "sandbox %s can't be paused: a process of it doesn't stop", p.spec.ID)
		case late:
			time.Sleep(pause)
		case fresh && waited > patience:
			return fault.New("give it a limit, as by --memory: in a cgroup of its own all is stopped at once",
				"sandbox %s can't be paused: it starts new processes faster than they can be stopped", p.spec.ID)
		}
	}
	return nil
}

// stopNew sends the signal to those that haven't been met, and tells whether there
// were any.
func (p *Program) stopNew(stopped map[identity]bool) (found bool) {
	for id, state := range p.inside() {
		switch _, known := stopped[id]; {
		case known:
		case state == 'T':
			stopped[id] = false
		default:
			stopped[id], found = unix.Kill(id.pid, unix.SIGSTOP) == nil, true
		}
	}
	return found
}

// stopAgain sends the signal once more to those that don't stand yet, and tells
// whether there were any: a process of several threads that executes a program
// drops a stop which has begun.
func stopAgain(stopped map[identity]bool) (found bool) {
	for id, ours := range stopped {
		if ours && !id.stands() {
			found = unix.Kill(id.pid, unix.SIGSTOP) == nil || found
		}
	}
	return found
}

// stands tells whether a process that was sent SIGSTOP does nothing any more: each of
// its threads has stopped or ended, or waits in the kernel, for longer than executing
// a program takes, and has the signal before it. That is how one stands whose child,
// stopped as well, is to execute something first.
func (id identity) stands() bool {
	for range 3 {
		if now, err := lookUp(id.pid); err != nil || now.born != id.born || now.ended() {
			return true
		}
		states := threadStates(id.pid)
		if len(states) == 0 || bytes.ContainsAny(states, "RS") {
			return false
		}
		if !bytes.ContainsRune(states, 'D') {
			return true
		}
		if !isPending(id.pid, unix.SIGSTOP) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

func (p *Program) continueAll() {
	for id, ours := range p.paused.stopped {
		if now, _ := lookUp(id.pid); ours && now.born == id.born {
			_ = unix.Kill(id.pid, unix.SIGCONT)
		}
	}
	p.paused.stopped = nil
}

// inside gives the processes in the sandbox with their states: the first, those in
// the namespace that keeps it together, and those beneath them.
func (p *Program) inside() map[identity]byte {
	kind, ours := "ipc", p.ipc
	if ours == "" {
		kind, ours = "pid", namespaceOf(p.PID(), "pid")
	}
	parents, members := map[int]int{}, map[int]bool{}
	found := map[identity]byte{}
	all := processes()
	for _, pid := range all {
		parents[pid] = parent(pid)
		first := pid == p.PID() && parents[pid] == os.Getpid()
		members[pid] = first || ours != "" && pid != os.Getpid() && namespaceOf(pid, kind) == ours
	}
	for _, pid := range all {
		for above := pid; above > 0; above = parents[above] {
			if members[above] {
				if s, err := lookUp(pid); err == nil && !s.ended() {
					found[identity{pid, s.born}] = s.state
				}
				break
			}
		}
	}
	return found
}

func namespaceOf(pid int, kind string) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	return name
}

// PIDs are the numbers of the processes in the sandbox, as this process sees them.
func (p *Program) PIDs() []int {
	var pids []int
	for id := range p.inside() {
		pids = append(pids, id.pid)
	}
	slices.Sort(pids)
	return pids
}
