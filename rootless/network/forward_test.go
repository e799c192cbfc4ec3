package network

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// published makes a namespace by h with ports published.
func published(t *testing.T, h helper, ports ...Port) *Namespace {
	t.Helper()
	ns, err := createBy(t.Context(), t.TempDir(), DNS{}, ports, []helper{h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// address is where a published port is reached from this machine, by ip where
// it is on all addresses.
func address(p Port, ip string) string {
	if p.HostIP != anyIPv4 && p.HostIP != anyIPv6 {
		ip = p.HostIP
	}
	return net.JoinHostPort(ip, strconv.Itoa(int(p.HostPort)))
}

func TestPublishedPortsReachTheContainer(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		ns := published(t, h,
			Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"},
			Port{ContainerPort: 81, Proto: "tcp"},
			Port{HostIP: "::1", ContainerPort: 82, Proto: "tcp"},
			Port{ContainerPort: 83, Proto: "udp"},
		)
		err := within(ns.Path, func() error {
			for _, port := range []string{"80", "81", "82"} {
				l, err := net.Listen("tcp4", "0.0.0.0:"+port)
				if err != nil {
					return err
				}
				serve(t, l, "port "+port)
			}
			answerDNS(t, "0.0.0.0:83", [4]byte{8, 2, 8, 2})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range ns.Ports {
			got = append(got, p.HostIP+" "+p.Container())
		}
		want := []string{"127.0.0.1 80/tcp", "0.0.0.0 81/tcp", ":: 81/tcp", "::1 82/tcp", "0.0.0.0 83/udp", ":: 83/udp"}
		if fmt.Sprint(got) != fmt.Sprint(want) || ns.Ports[1].HostPort != ns.Ports[2].HostPort {
			t.Fatalf("published %v, want %v", ns.Ports, want)
		}
		for _, at := range []string{
			address(ns.Ports[0], ""), address(ns.Ports[1], "127.0.0.1"), address(ns.Ports[1], hostIP),
			address(ns.Ports[2], "::1"), address(ns.Ports[2], hostIP6), address(ns.Ports[3], ""),
		} {
			if word, err := greet(at); err != nil || word[:5] != "port " {
				t.Errorf("%s says %q (%v)", at, word, err)
			}
		}
		if _, err := greet(address(Port{HostIP: hostIP, HostPort: ns.Ports[0].HostPort}, "")); err == nil {
			t.Error("a port published on the loopback answers elsewhere")
		}
		// The second is where who asks is.
		for _, at := range [][2]string{
			{address(ns.Ports[4], "127.0.0.1"), ":0"},
			{address(ns.Ports[4], hostIP), ":0"},
			{address(ns.Ports[4], "127.0.0.5"), "127.0.0.1:0"},
			{address(ns.Ports[5], "::1"), ":0"},
			{address(ns.Ports[5], hostIP6), ":0"},
			{address(ns.Ports[5], outsideIP6), "[" + hostIP6 + "]:0"},
		} {
			if _, err := dialUDP(at[0], at[1]); err != nil {
				t.Errorf("%s from %s: %v", at[0], at[1], err)
			}
		}
	})
}

// dialUDP says something and waits for the answer, which must come from where it
// was said to: the socket is connected.
func dialUDP(at, from string) (n int, err error) {
	local, err := net.ResolveUDPAddr("udp", from)
	if err != nil {
		return 0, err
	}
	dialer := net.Dialer{LocalAddr: local}
	conn, err := dialer.Dial("udp", at)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	if _, err := conn.Write([]byte("............")); err != nil {
		return 0, err
	}
	return conn.Read(make([]byte, 64))
}

func TestPublishedPortKeepsEndsAndBytes(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		ns := published(t, h, Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"})
		sent := make([]byte, 8<<20)
		if _, err := rand.Read(sent); err != nil {
			t.Fatal(err)
		}
		var l net.Listener
		err := within(ns.Path, func() (err error) {
			l, err = net.Listen("tcp4", "0.0.0.0:80")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		served := make(chan error, 1)
		go func() { // speaks first, and sends all back when the client has ended
			served <- func() error {
				conn, err := l.Accept()
				if err != nil {
					return err
				}
				if _, err := conn.Write([]byte("hello")); err != nil {
					return err
				}
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				all, err := io.ReadAll(conn)
				if err != nil {
					return err
				}
				_, err = conn.Write(all)
				return errors.Join(err, conn.Close())
			}()
		}()
		conn, err := net.Dial("tcp", address(ns.Ports[0], ""))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes came back (%v)", len(got), len(sent), err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestPublishedPortThatNobodyServesIsReset(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		ns := published(t, h, Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"})
		if _, err := greet(address(ns.Ports[0], "")); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%v, want %v", err, unix.ECONNRESET)
		}
	})
}

func TestCloseEndsConnections(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		ns := published(t, h, Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"},
			Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "udp"})
		err := within(ns.Path, func() error {
			answerDNS(t, "0.0.0.0:80", [4]byte{})
			l, err := net.Listen("tcp4", "0.0.0.0:80")
			if err != nil {
				return err
			}
			serve(t, l, "unheard")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address(ns.Ports[0], ""))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := dialUDP(address(ns.Ports[1], ""), ":0"); err != nil {
			t.Fatal(err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
		_ = conn.SetDeadline(time.Now().Add(dialTimeout))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, unix.ETIMEDOUT) || err == nil {
			t.Errorf("the connection lives on: %v", err)
		}
		again, err := claimPorts(ns.Ports)
		if err != nil {
			t.Errorf("the ports aren't free again: %v", err)
		}
		closeClaims(again)
	})
}
