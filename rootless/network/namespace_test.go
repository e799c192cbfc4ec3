package network

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const dialTimeout = 2 * time.Second

// greeter answers whoever says something with word.
func greeter(t *testing.T, address, word string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, word)
	return l.Addr().(*net.TCPAddr).Port
}

func serve(t *testing.T, l net.Listener, word string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, word)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

// greet connects to address and gives what is said there.
func greet(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	if _, err := conn.Write([]byte{'?'}); err != nil {
		return "", err
	}
	word, err := io.ReadAll(conn)
	if err == nil && len(word) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return string(word), err
}

func TestPrivateNetworkReachesOutsideAndNotTheHostsLoopback(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		outside := greeter(t, hostIP+":0", "outside")
		outside6 := greeter(t, "["+outsideIP6+"]:0", "outside6")
		loopback := greeter(t, "127.0.0.1:0", "loopback")
		loopback6 := greeter(t, "[::1]:0", "loopback6")
		ns, err := createBy(t.Context(), t.TempDir(), DNS{}, nil, []helper{h})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := ns.Close(); err != nil {
				t.Error(err)
			}
		}()
		if ns.Helper != h.name {
			t.Errorf("Helper = %q, want %q", ns.Helper, h.name)
		}
		err = within(ns.Path, func() error {
			if word, err := greet(fmt.Sprintf("%s:%d", hostIP, outside)); err != nil || word != "outside" {
				t.Errorf("outside: %q, %v", word, err)
			}
			if word, err := greet(fmt.Sprintf("[%s]:%d", outsideIP6, outside6)); word != "outside6" {
				t.Errorf("outside by IPv6: %q, %v", word, err)
			}
			for _, ip := range []string{"127.0.0.1", gateway, forward, guestIP} {
				if word, err := greet(fmt.Sprintf("%s:%d", ip, loopback)); err == nil {
					t.Errorf("the host's loopback answers at %s: %q", ip, word)
				}
			}
			for _, ip := range []string{"::1", gateway6, forward6} {
				if word, err := greet(fmt.Sprintf("[%s]:%d", ip, loopback6)); err == nil {
					t.Errorf("the host's loopback answers at %s: %q", ip, word)
				}
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			serve(t, l, "own")
			if word, err := greet(l.Addr().String()); word != "own" {
				t.Errorf("its own loopback: %q, %v", word, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// answerDNS answers every query at address with one A record until the test
// ends.
func answerDNS(t *testing.T, address string, ip [4]byte) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			reply := append([]byte{}, buf[:n]...)
			binary.BigEndian.PutUint16(reply[2:], 0x8180) // an answer, no error
			binary.BigEndian.PutUint16(reply[6:], 1)      // one record
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			_, _ = conn.WriteTo(append(reply, ip[:]...), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
}

// lookUp asks the first server of a resolv.conf for an address.
func lookUp(resolv []byte) (ip [4]byte, err error) {
	var server string
	for line := range strings.Lines(string(resolv)) {
		if rest, ok := strings.CutPrefix(line, "nameserver "); ok && server == "" {
			server = strings.TrimSpace(rest)
		}
	}
	conn, err := net.Dial("udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return ip, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	query := []byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1}
	if _, err := conn.Write(query); err != nil {
		return ip, err
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil {
		return ip, err
	}
	copy(ip[:], buf[n-4:n])
	return ip, nil
}

func TestNamesAreResolvedWhereverTheHostsResolverListens(t *testing.T) {
	for i, tc := range []struct{ name, server, listen string }{
		{"loopback", "127.0.0.53", "127.0.0.53:53"},
		{"own address", hostIP, hostIP + ":53"},
		{"IPv6 loopback", "::1", "[::1]:53"},
		{"IPv4 behind IPv6", "::1\nnameserver 127.0.0.53", "127.0.0.53:53"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			forEachHelper(t, func(t *testing.T, h helper) {
				if tc.name == "IPv4 behind IPv6" {
					shell(t, "ip -6 route del default")
					defer shell(t, "ip -6 route add default via fd00:1::1")
				}
				want := [4]byte{10, 1, 1, byte(i)}
				answerDNS(t, tc.listen, want)
				setResolvConf(t, "nameserver "+tc.server+"\nsearch example.org\noptions ndots:2\n")
				ns, err := createBy(t.Context(), t.TempDir(), DNS{}, nil, []helper{h})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = ns.Close() }()
				if !strings.Contains(string(ns.Resolv), "search example.org\noptions ndots:2\n") {
					t.Errorf("search and options are lost: %q", ns.Resolv)
				}
				err = within(ns.Path, func() error {
					got, err := lookUp(ns.Resolv)
					if got != want {
						t.Errorf("looked up %v, want %v", got, want)
					}
					return err
				})
				if err != nil {
					t.Errorf("%v, with %q", err, ns.Resolv)
				}
			})
		})
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		dir := t.TempDir()
		ns, err := createBy(t.Context(), dir, DNS{}, []Port{{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}}, []helper{h})
		if err != nil {
			t.Fatal(err)
		}
		if len(running(t, dir)) == 0 {
			t.Error("the helper can't be found: the test proves nothing")
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
		leftovers(t, dir)
	})
}

func TestCancelledCreateLeavesNothing(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := createBy(ctx, dir, DNS{}, nil, []helper{h}); !errors.Is(err, context.Canceled) {
			t.Errorf("create: %v, want %v", err, context.Canceled)
		}
		leftovers(t, dir)
	})
}

func TestHelperThatFailsIsQuoted(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	broken := dir + "/broken"
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho it is out of order >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := dir + "/run"
	_, err := createBy(t.Context(), own, DNS{}, nil, []helper{pastaAt(broken), slirpAt(broken)})
	if !strings.Contains(fmt.Sprint(err), "it is out of order (exit status 3)") {
		t.Errorf("create: %v", err)
	}
	leftovers(t, own)
}

func TestNamespacesAreBoundWhereProfilesLetPastaReadThem(t *testing.T) {
	runtimeDir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtimeDir)
	f, err := newFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if !strings.HasPrefix(f.Name(), runtimeDir+"/netns/") {
		t.Errorf("bound to %s", f.Name())
	}
	if err := os.WriteFile(runtimeDir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, unusable := range []string{"/missing", "/file"} {
		t.Setenv("XDG_RUNTIME_DIR", runtimeDir+unusable)
		dir := t.TempDir() + "/run/net"
		other, err := newFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		if !strings.HasPrefix(other.Name(), dir+"/") {
			t.Errorf("bound to %s", other.Name())
		}
	}
}

func TestManyAtOnceGetReady(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		dir := t.TempDir()
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				ns, err := createBy(t.Context(), dir, DNS{}, nil, []helper{h})
				if err != nil {
					return err
				}
				return ns.Close()
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		leftovers(t, dir)
	})
}

func TestSweepRemovesOnlyWhatIsDead(t *testing.T) {
	dir := t.TempDir()
	dead := dir + "/" + prefix + "dead"
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := newFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alive.Close() }()
	sweep(dir)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead file is still there: %v", err)
	}
	if _, err := os.Stat(alive.Name()); err != nil {
		t.Errorf("the living file is gone: %v", err)
	}
}

func TestHostWithoutRoutesStillGivesANamespace(t *testing.T) {
	needHost(t)
	path, err := exec.LookPath(pasta)
	if err != nil {
		t.Fatal(err)
	}
	shell(t, "ip route del default; ip -6 route del default")
	defer shell(t, "ip route add default via 192.0.2.1; ip -6 route add default via fd00:1::1")
	ns, err := createBy(t.Context(), t.TempDir(), DNS{}, nil, []helper{pastaAt(path)})
	if err != nil {
		t.Fatal(err)
	}
	// Newer versions of pasta start all the same.
	if err := within(ns.Path, func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := ns.Close(); err != nil {
		t.Error(err)
	}
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

const ownerMarker = "NETWORK_TEST_OWNER"

// own makes a namespace for every helper in the directory that the marker
// names, says so and waits to be killed.
func own(dir string) int {
	for _, h := range helpers("", quick) {
		if _, err := createBy(context.Background(), dir, DNS{}, nil, []helper{h}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("ready")
	select {}
}

func TestHelpersDieWithTheirOwner(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS} // its mounts go with it
	cmd.Env = append(os.Environ(), ownerMarker+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" || len(running(t, dir)) == 0 {
		t.Errorf("the owner says %q", line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(5 * time.Second); len(running(t, dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("helpers live on: %s", running(t, dir))
		}
	}
}

func TestOnlyTheWantedHelperIsTried(t *testing.T) {
	needHost(t)
	for _, wanted := range []string{pasta, slirp4netns} {
		ns, err := create(t, t.TempDir(), wanted, DNS{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ns.Helper != wanted {
			t.Errorf("%s was wanted, and %s carries the network", wanted, ns.Helper)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := create(t, t.TempDir(), "nosuchhelper", DNS{}, nil)
	if err == nil || !strings.Contains(err.Error(), "nosuchhelper isn't installed") || fault.Remedy(err) == "" {
		t.Errorf("%v (remedy %q)", err, fault.Remedy(err))
	}
}
