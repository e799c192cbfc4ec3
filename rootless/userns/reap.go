package userns

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// becomeSubreaper makes processes beneath this one its children when their
// parent ends. Where an emulator runs this program (qemu-user) there is no such
// call, and nothing that leaves orphans either: no namespaces are to be had, and
// chroot asks for its own.
func becomeSubreaper() error {
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	if err != nil && err != unix.EINVAL {
		return fault.New("", "becoming the reaper of orphans: %w", err)
	}
	return nil
}

// reapPause gathers deaths, so that a RUN with a thousand processes doesn't
// cause a thousand sweeps.
const reapPause = time.Second

// reapOrphans reaps the zombies among adopted children. Those of this
// process's own making are left to whoever waits for them: package os holds a
// pidfd for each until it has been waited for. On kernels without pidfds, and
// for what was started by package syscall, there is the pause between two
// sweeps: only what is a zombie in both is reaped.
func reapOrphans() {
	deaths := make(chan os.Signal, 1)
	signal.Notify(deaths, unix.SIGCHLD)
	seen := map[int]bool{}
	for {
		if len(seen) == 0 {
			<-deaths
		}
		time.Sleep(reapPause)
		select {
		case <-deaths:
		default:
		}
		seen = sweep(seen)
	}
}

// sweep reaps the unclaimed zombies that the sweep before has seen, and gives
// those to reap in the next.
func sweep(seen map[int]bool) map[int]bool {
	next := map[int]bool{}
	var zombies []int
	for pid, p := range processes() {
		if p.parent == os.Getpid() && p.state == zombie {
			zombies = append(zombies, pid)
		}
	}
	if len(zombies) == 0 {
		return next
	}
	claimed := pidfds() // after the zombies: who has waited since leaves neither
	for _, pid := range zombies {
		switch {
		case claimed[pid]:
		case seen[pid]:
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		default:
			next[pid] = true
		}
	}
	return next
}

// pidfds gives the processes that this one holds a pidfd of.
func pidfds() map[int]bool {
	held := map[int]bool{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return held
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.Contains(target, "pidfd") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(info)) {
			if value, ok := strings.CutPrefix(line, "Pid:"); ok {
				pid, _ := strconv.Atoi(strings.TrimSpace(value)) // -1 or 0: reaped
				held[pid] = true
			}
		}
	}
	return held
}

// process is what this package needs of /proc/<pid>/stat.
type process struct {
	parent int
	state  byte
}

// zombie is the state of a process that has ended and isn't reaped.
const zombie = 'Z'

// processes gives all processes in sight of /proc.
func processes() map[int]process {
	all := map[int]process{}
	dir, err := os.Open("/proc")
	if err != nil {
		return all
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1) // what was read before an error still counts
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; the name may contain anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(string(fields[1]))
		all[pid] = process{parent, fields[0][0]}
	}
	return all
}

// children gives the children of process pid.
func children(pid int) map[int]bool {
	found := map[int]bool{}
	for child, p := range processes() {
		if p.parent == pid {
			found[child] = true
		}
	}
	return found
}

// killDeadline is how long endDescendants insists: a process in an
// uninterruptible wait dies only when that ends.
const killDeadline = 5 * time.Second

// endDescendants kills everything beneath this process except the given
// children and what is beneath them, and reaps what it adopts meanwhile. This
// process must be a subreaper: then nothing escapes by its parent's death.
//
// All are stopped first, so that none reacts to another's death, and those
// that a goroutine of this process may wait for are killed last: it may end
// the process in answer.
func endDescendants(except map[int]bool) {
	deadline := time.Now().Add(killDeadline)
	stopped := map[int]bool{}
	for fresh := true; fresh && time.Now().Before(deadline); {
		fresh = false
		all := processes()
		for pid := range all {
			if !stopped[pid] && beneath(all, pid, except) {
				fresh, stopped[pid] = true, true
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
		}
	}
	for killDescendants(except) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}

// killDescendants kills each once, and tells whether there was any.
func killDescendants(except map[int]bool) (alive bool) {
	claimed := pidfds()
	var last []int
	all := processes()
	for pid, p := range all {
		switch {
		case !beneath(all, pid, except):
		case p.state == zombie && p.parent == os.Getpid():
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		case p.state == zombie: // its parent dies too, and leaves it to us
		case claimed[pid]:
			last = append(last, pid)
		default:
			alive = true
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	for _, pid := range last {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return alive || len(last) > 0
}

// beneath tells whether pid descends from this process, other than through
// the excepted children.
func beneath(all map[int]process, pid int, except map[int]bool) bool {
	for range len(all) {
		parent := all[pid].parent
		switch {
		case parent == os.Getpid():
			return !except[pid]
		case parent == 0:
			return false
		}
		pid = parent
	}
	return false
}
