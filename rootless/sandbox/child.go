package sandbox

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// children are processes that became ours by the end of the runtime that had
// started them. Package os holds each by a pidfd, by which the reaper of orphans
// knows that it isn't its to reap.
type children struct {
	// making is held for reading from before a runtime is started until what it
	// leaves is adopted, and for writing by who ends what nobody has adopted.
	making sync.RWMutex

	mu   sync.Mutex
	held map[int]bool
}

// adopt takes hold of a child, until it is waited for.
func (c *children) adopt(pid int) (*os.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("holding process %d: %w", pid, err)
	}
	known, err := lookUp(pid)
	if err == nil && known.parent != os.Getpid() {
		err = errors.New("it isn't builder's child")
	}
	if err != nil { // that may be for want of descriptors
		_ = p.Release()
		return nil, fmt.Errorf("holding process %d: %w", pid, err)
	}
	if c.held == nil {
		c.held = map[int]bool{}
	}
	c.held[pid] = true
	return p, nil
}

// wait returns when a child has ended, with its code as a shell has it.
func (c *children) wait(p *os.Process) (int, error) {
	state, err := p.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, p.Pid)
	if err != nil {
		return 0, fmt.Errorf("waiting for process %d: %w", p.Pid, err)
	}
	return stateCode(state), nil
}

// send sends a signal to a child, unless it has ended.
func send(p *os.Process, sig unix.Signal) error {
	if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// endOrphans kills and reaps what a runtime has left that was killed or has
// failed: the process that it has written down, or else the children of ours in
// pid namespaces of their own that nobody holds. Such a namespace doesn't end
// before each of them is reaped.
func (c *children) endOrphans(pidFile string, pidNS bool) {
	c.making.Lock()
	defer c.making.Unlock()
	for _, pid := range c.orphans(pidFile, pidNS) {
		if p, err := c.adopt(pid); err == nil {
			_ = send(p, unix.SIGKILL)
			_, _ = c.wait(p)
		}
	}
}

func (c *children) orphans(pidFile string, pidNS bool) (pids []int) {
	if pid := readPID(pidFile); pid > 0 {
		return []int{pid}
	}
	if !pidNS {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pid := range processes() {
		if !c.held[pid] && isOrphan(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
