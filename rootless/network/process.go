package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a helper that runs until stop, or until we die.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

// start starts cmd with the kernel's promise to kill it when we die. The
// promise is bound to the thread that forks, which must therefore live as long
// as the child.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.Stderr = &p.stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended doesn't matter; what it said does
			close(p.ended)
		}
	}()
	return p, <-started
}

// patience is how long a helper may take to get ready. It needs some 30 ms; a
// mute one must not stop a build for ever.
const patience = 20 * time.Second

// await returns when the helper has written something to ready, or stops it
// and says why it didn't.
func (p *process) await(ctx context.Context, ready *os.File) error {
	said := make(chan error, 1)
	go func() {
		_, err := ready.Read(make([]byte, 16))
		said <- err
	}()
	select {
	case err := <-said:
		if err == nil {
			return nil
		}
	case <-p.ended:
	case <-time.After(patience):
		p.stop()
		return fmt.Errorf("it wasn't ready after %v; %w", patience, p.failure())
	case <-ctx.Done():
		p.stop()
		return context.Cause(ctx)
	}
	p.stop()
	return p.failure()
}

// running tells whether the helper hasn't ended. The kernel takes a process's
// devices away, which can last, before anybody is told of its end; so one that
// is about to end counts, too.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
	}
	if !p.exiting() {
		return true
	}
	<-p.ended
	return false
}

// exiting tells whether the kernel has begun to take the process down, by its
// flags (proc_pid_stat(5)).
func (p *process) exiting() bool {
	const flagExiting = 0x4 // PF_EXITING
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return errors.Is(p.cmd.Process.Signal(unix.Signal(0)), os.ErrProcessDone)
	}
	// Behind the name, which may hold anything, come the state, five numbers
	// and the flags.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&flagExiting != 0
}

// stop ends the helper and returns when it is gone. Where it mayn't be signalled, it
// is waited for as long as one that is to get ready.
func (p *process) stop() {
	if !p.running() {
		return
	}
	if p.kill() {
		<-p.ended
		return
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
	}
}

// kill begins to end the helper, which keeps nothing that a milder signal could
// save. It tells whether the helper has ended or will: AppArmor's profile for pasta
// takes signals only from programs that have none, and builder may have one, which
// permits user namespaces. Such a pasta ends when its namespace's file goes.
func (p *process) kill() bool {
	err := p.cmd.Process.Kill()
	return err == nil || errors.Is(err, os.ErrProcessDone)
}

// failure makes an error of the helper's last words.
func (p *process) failure() error {
	var words []string
	for line := range strings.Lines(p.stderr.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Failed to send") {
			words = append(words, line)
		}
	}
	if len(words) == 0 {
		return errors.New(p.cmd.ProcessState.String())
	}
	return fmt.Errorf("%s (%s)", strings.Join(words[max(0, len(words)-3):], "; "), p.cmd.ProcessState)
}
