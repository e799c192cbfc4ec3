package chroot

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
)

// socket shows a socket: the keeper listens in the tree, and passes on what is said.
func (s *stage) socket(m rspec.Mount, st os.FileInfo) error {
	var listener *net.UnixListener
	owner := st.Sys().(*syscall.Stat_t)
	return s.replace(m.Destination, func(at string) error {
		var err error
		if listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"}); err != nil {
			return err
		}
		listener.SetUnlinkOnClose(false)
		go passOn(listener, m.Source)
		if err := os.Lchown(at, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
		return os.Chmod(at, st.Mode().Perm())
	}, func(at string) error {
		if listener != nil {
			_ = listener.Close()
		}
		return os.RemoveAll(at)
	})
}

// passOn joins each connection to one of its own to the socket at path, whose name may
// be longer than a socket's may be.
func passOn(listener *net.UnixListener, path string) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	defer dir.Close()
	to := &net.UnixAddr{Name: point{dir, filepath.Base(path)}.path(), Net: "unix"}
	for {
		theirs, err := listener.AcceptUnix()
		if err != nil {
			return
		}
		ours, err := net.DialUnix("unix", nil, to)
		if err != nil {
			_ = theirs.Close()
			continue
		}
		go join(theirs, ours)
	}
}

func join(a, b *net.UnixConn) {
	var both sync.WaitGroup
	for _, pair := range [][2]*net.UnixConn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].CloseWrite()
		})
	}
	both.Wait()
	_, _ = a.Close(), b.Close()
}
