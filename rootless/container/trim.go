package container

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rest has memory given back when a monitor has had nothing to do for a while: after
// a container's start, and after what clients have asked for.
type rest struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// calm is that while. A container that ends sooner doesn't count as one that stays.
const calm = 500 * time.Millisecond

// soon begins the while anew.
func (r *rest) soon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case r.timer == nil:
		r.timer = time.AfterFunc(calm, giveBack)
	default:
		r.timer.Reset(calm)
	}
}

// never says that the process ends anyway.
func (r *rest) never() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// giveBack frees what work has taken: garbage, and the pages of
// the program file that nothing needs while the monitor waits. What it needs it
// gets again from the page cache, where all monitors share it.
func giveBack() {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		// from-to permissions offset device inode path
		words := strings.Fields(line)
		if len(words) < 6 || !strings.HasPrefix(words[1], "r") || strings.Contains(words[1], "w") || !strings.HasPrefix(words[5], "/") {
			continue
		}
		from, to, _ := strings.Cut(words[0], "-")
		start, err := strconv.ParseUint(from, 16, 64)
		if err != nil {
			continue
		}
		end, err := strconv.ParseUint(to, 16, 64)
		if err != nil {
			continue
		}
		// Nobody has written to these pages: they are the file's.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
	}
}
