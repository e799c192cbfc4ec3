package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forwarder passes on what comes to published ports to the same process's
// network namespace. The helpers could do that themselves; but a socket on
// either side and the kernel's splice between them is as fast as anything, is the same
// with each helper in each version, for both families, and the ports are ours
// from the first moment on. As with docker's proxy, the container sees
// connections from an address of its own.
type forwarder struct {
	in     *inside
	to     netip.Addr
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup
	claims []claim
}

// newForwarder begins to pass on what comes to the claimed ports to an address in the
// namespace. The claims are the forwarder's from now on.
func newForwarder(path, to string, claims []claim) (*forwarder, error) {
	in, err := goInside(path)
	if err != nil {
		closeClaims(claims)
		return nil, err
	}
	f := &forwarder{in: in, to: netip.MustParseAddr(to), claims: claims}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for _, c := range claims {
		port := netip.AddrPortFrom(f.to, c.ContainerPort)
		f.work.Go(func() {
			if c.udp != nil {
				f.serveUDP(c.udp, port)
			} else {
				f.serveTCP(c.tcp, port)
			}
		})
	}
	return f, nil
}

// close ends all connections and gives the ports back.
func (f *forwarder) close() {
	f.cancel()
	closeClaims(f.claims)
	f.work.Wait()
	f.in.close()
}

// retry is the pause after an accept that failed for want of descriptors or
// memory.
const retry = 50 * time.Millisecond

func (f *forwarder) serveTCP(l *net.TCPListener, to netip.AddrPort) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			f.work.Go(func() { f.passTCP(conn, to) })
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(retry)
		}
	}
}

// passTCP joins a connection from outside with one inside until both directions
// have ended. What nobody inside accepts is reset, as it would be there.
func (f *forwarder) passTCP(outer *net.TCPConn, to netip.AddrPort) {
	conn, err := f.in.dial(f.ctx, unix.SOCK_STREAM, to)
	if err != nil {
		reset(outer)
		return
	}
	inner := conn.(*net.TCPConn)
	defer context.AfterFunc(f.ctx, func() { reset(outer, inner) })()
	var back sync.WaitGroup
	back.Go(func() { passOn(outer, inner) })
	passOn(inner, outer)
	back.Wait()
	_ = outer.Close()
	_ = inner.Close()
}

// passOn copies one direction to its end, and passes that on as well. When it
// breaks, so does the other direction.
func passOn(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to, from)
		return
	}
	_ = to.CloseWrite()
}

// reset ends connections so that their peers notice that it wasn't orderly.
func reset(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}
