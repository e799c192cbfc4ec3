package container

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack frees what the start of a container took: garbage, and the pages of
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
