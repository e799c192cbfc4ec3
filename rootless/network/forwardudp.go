package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFlows is how many clients one UDP port serves at a time. Senders'
	// addresses can be forged, and each costs a socket.
	maxFlows = 1024
	// flowIdle is how long an answer may be after the last datagram. It is
	// docker's.
	flowIdle = 90 * time.Second
	// maxDatagram is the longest that UDP knows.
	maxDatagram = 1 << 16
)

// udpPort is a published UDP port.
type udpPort struct {
	f    *forwarder
	conn *net.UDPConn
	to   netip.AddrPort

	mu    sync.Mutex
	flows map[peers]*flow
}

// peers are a client and, as a control message for its answers, the host's address
// that it speaks to.
type peers struct {
	client netip.AddrPort
	from   string
}

// flow is one client of a port: what it sends comes out of a socket of its own
// inside, so that answers find back.
type flow struct{ inner *net.UDPConn }

func (f *forwarder) serveUDP(conn *net.UDPConn, to netip.AddrPort) {
	p := &udpPort{f: f, conn: conn, to: to, flows: map[peers]*flow{}}
	buf, oob := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, oobn, _, client, err := conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, net.ErrClosed):
			p.closeFlows()
			return
		case err != nil:
			continue // an answer's, that nobody took: the client is gone
		}
		if flow := p.flow(peers{client, string(answerFrom(oob[:oobn]))}); flow != nil {
			_ = flow.inner.SetReadDeadline(time.Now().Add(flowIdle))
			_, _ = flow.inner.Write(buf[:n]) // what is lost, is lost: it is UDP
		}
	}
}

// flow gives the flow between peers; nil where there can't be one.
func (p *udpPort) flow(between peers) *flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.flows[between]; known != nil {
		return known
	}
	if len(p.flows) >= maxFlows {
		return nil
	}
	conn, err := p.f.in.dial(p.f.ctx, unix.SOCK_DGRAM, p.to)
	if err != nil {
		return nil
	}
	made := &flow{conn.(*net.UDPConn)}
	p.flows[between] = made
	p.f.work.Go(func() { p.answer(between, made) })
	return made
}

func (p *udpPort) closeFlows() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, flow := range p.flows {
		_ = flow.inner.Close()
	}
}

// answer passes a client's answers on until there are no more.
func (p *udpPort) answer(between peers, flow *flow) {
	defer func() {
		p.mu.Lock()
		delete(p.flows, between)
		p.mu.Unlock()
		_ = flow.inner.Close()
	}()
	raw, err := flow.inner.SyscallConn()
	if err != nil {
		return
	}
	for {
		err := receive(raw, func(datagram []byte) {
			_ = flow.inner.SetReadDeadline(time.Now().Add(flowIdle))
			_, _, _ = p.conn.WriteMsgUDPAddrPort(datagram, []byte(between.from), between.client)
		})
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// datagrams lends buffers for the moment in which a datagram is passed on.
var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// receive waits for a datagram and gives it to pass. It holds no buffer while it
// waits. The error is the waiting's: that nobody listens inside, as an earlier
// datagram's answer may tell, is none.
func receive(raw syscall.RawConn, pass func([]byte)) error {
	return raw.Read(func(fd uintptr) bool {
		buf := datagrams.Get().(*[maxDatagram]byte)
		defer datagrams.Put(buf)
		n, err := unix.Read(int(fd), buf[:])
		if err == nil {
			pass(buf[:n])
		}
		return err != unix.EAGAIN && err != unix.EINTR
	})
}

// answerFrom makes the control message for answers of the one that a datagram
// came with: the address that it was sent to becomes the sender's. The
// interface is left to routing.
func answerFrom(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			// ifindex, address of this host, destination
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])})
		}
	}
	return nil
}
