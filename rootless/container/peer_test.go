package container

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// dialAs connects to a socket as another user, whom the file system lets through.
func dialAs(t *testing.T, uid int, path string) net.Conn {
	t.Helper()
	var c net.Conn
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); err != 0 {
			result <- err
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			f := os.NewFile(uintptr(fd), "socket")
			c, err = net.FileConn(f)
			_ = f.Close()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOtherUsersAreNotAnswered(t *testing.T) {
	f := newFixture(t, "exec busybox sleep 600")
	if err := f.run(t, nil).Running(); err != nil {
		t.Fatal(err)
	}
	// Links let a short path lead there, and everybody in.
	dir, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	own := filepath.Join(f.dir, f.config.ID)
	for at := own; at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		_ = os.Chmod(at, 0o755)
	}
	link := filepath.Join(dir, "own")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(own, socketFile)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(link, socketFile)
	for uid, answered := range map[int]bool{0: true, 7: false} {
		stranger := &conn{UnixConn: dialAs(t, uid, path).(*net.UnixConn)}
		if err := stranger.send("nonsense", nil); err != nil && answered {
			t.Fatal(err)
		}
		said, err := stranger.receive()
		switch {
		case answered && (err != nil || said.Kind != kindError):
			t.Errorf("user %d is answered by %v, %v", uid, said, err)
		case !answered && err == nil:
			t.Errorf("user %d is answered by %s %s", uid, said.Kind, said.Body)
		case !answered && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET):
			t.Error(err)
		}
	}
}
