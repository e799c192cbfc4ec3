package container

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// stream is a connection on which somebody has said data, in pieces of step bytes.
type stream struct {
	data *bytes.Reader
	step int
}

func (s stream) Read(p []byte) (int, error) { return s.data.Read(p[:min(len(p), s.step)]) }

func (s stream) ReadMsgUnix(b, _ []byte) (n, oobn, flags int, addr *net.UnixAddr, err error) {
	n, err = s.Read(b)
	if err == io.EOF { //nolint:errorlint // as a socket has it
		err = nil
	}
	return n, 0, 0, nil, err
}

func frame(text string) []byte {
	b := append([]byte(wireMagic), wireVersion, 0)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

func FuzzReadMessage(f *testing.F) {
	f.Add(frame(`{"kind":"stop","body":{"Timeout":3}}`), 1)
	f.Add(frame(`{}`), 100)
	f.Add([]byte("bmon\x01\x03\xff\xff\xff\xff"), 3)
	f.Add([]byte("GET / HTTP/1.1"), 5)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		m, err := readMessage(stream{bytes.NewReader(data), min(max(step, 1), 1<<16)})
		if err != nil {
			return
		}
		if m.Kind == "" || len(m.files) > 0 {
			t.Errorf("%q became %+v", data, m)
		}
		var s stopRequest
		var a attachRequest
		_, _ = m.decode(&s), m.decode(&a)
	})
}

func TestMessagesAreReadInPieces(t *testing.T) {
	for _, step := range []int{1, 3, 1 << 10} {
		m, err := readMessage(stream{bytes.NewReader(frame(`{"kind":"stop","body":{"Timeout":3}}`)), step})
		if err != nil || m.Kind != "stop" {
			t.Errorf("in pieces of %d: %+v, %v", step, m, err)
		}
	}
}

func TestForeignMessagesAreRefused(t *testing.T) {
	for _, said := range []string{
		"GET / HTTP/1.1\r\n\r\n", "bmon\x02\x00\x00\x00\x00\x02{}", "bmon\x01\x01\x00\x00\x00\x02{}",
		"bmon\x01\x00\xff\xff\xff\xff", "bmon\x01\x00\x00\x00\x00\x03{}", string(frame("[]")), string(frame(`{"kind":""}`)),
	} {
		if m, err := readMessage(stream{bytes.NewReader([]byte(said)), 7}); err == nil {
			t.Errorf("%q became %+v", said, m)
		}
	}
}

func TestDescriptorsComeAlong(t *testing.T) {
	client, theirs, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	server, err := connAt(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := client.conn.send("attach", attachRequest{Out: true}, w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	m, err := server.receive()
	if err != nil || m.Kind != "attach" || len(m.files) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	a := attachRequest{Out: true}.take(m)
	if _, err := io.WriteString(a.out.to, "hello"); err != nil {
		t.Error(err)
	}
	a.close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
}
