package emulate

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Go's runtime interrupts threads by signals as it likes, for one.
func TestSignalsDontCostACallerItsDescriptor(t *testing.T) {
	if err := Unsupported(); err != nil {
		t.Skip(err)
	}
	const calls = 3000
	n, results := notified(t, calls)
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	// Who answers is interrupted all the while.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ended atomic.Bool
	defer ended.Store(true)
	go func(tid int) {
		for !ended.Load() {
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		}
	}(unix.Gettid())
	for range calls {
		req, err := n.receive()
		for err == unix.EINTR {
			req, err = n.receive()
		}
		if err != nil {
			t.Fatal(err)
		}
		if !n.valid(req) {
			t.Fatal("a caller is taken for gone")
		}
		a := n.give(req, int(file.Fd()), true)
		a.after = func(delivered bool) {
			if !delivered {
				t.Fatal("a caller that waits doesn't get its answer")
			}
		}
		n.send(req, a)
		if got := <-results; got < 3 {
			t.Fatalf("a caller was told that its descriptor is %d", got)
		}
	}
}

// notified makes a filter that hands over the mknodat of one thread, which does as many
// calls and tells what each returned.
func notified(t *testing.T, calls int) (*notifier, <-chan int) {
	t.Helper()
	results, filter := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread() // and ends with the goroutine, its filter too
		fd, err := filterOfThread(unix.SYS_MKNODAT)
		if err != nil {
			t.Error(err)
			close(filter)
			return
		}
		filter <- fd
		for range calls {
			r, _, e := unix.Syscall(unix.SYS_MKNODAT, 0, 0, 0)
			if e != 0 {
				results <- -int(e)
				continue
			}
			_ = unix.Close(int(r))
			results <- int(r)
		}
	}()
	fd, ok := <-filter
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &notifier{fd: fd}, results
}

// filterOfThread hands one call of the calling thread over to the descriptor that it
// gives.
func filterOfThread(call uint32) (int, error) {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&p)))
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}
