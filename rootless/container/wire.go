package container

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// A message on a monitor's socket is a frame: four bytes that tell a stranger
// from a client, one with the protocol's version, one with the number of
// descriptors that come along, the length of what follows (big-endian), and as
// many bytes of JSON.
const (
	wireMagic   = "bmon"
	wireVersion = 1
	wireHeader  = len(wireMagic) + 2 + 4
	// maxMessage is far above what a program's arguments and environment take.
	maxMessage = 4 << 20
	// maxFiles is what any message has: the three standard streams.
	maxFiles = 3
)

// errForeign says that who is at the other end doesn't speak the protocol.
var errForeign = errors.New("this is no message of builder's")

// message is one thing said. Its kind decides what Body holds.
type message struct {
	Kind  string          `json:"kind"`
	Body  json.RawMessage `json:"body,omitempty"`
	files []*os.File
}

// close closes the descriptors that came along, and that nobody has taken.
func (m *message) close() {
	for _, f := range m.files {
		_ = f.Close()
	}
	m.files = nil
}

// decode reads the body into v.
func (m *message) decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("%w: %s: %w", errForeign, m.Kind, err)
	}
	return nil
}

// conn is one end of a connection between a client and a monitor. One goroutine
// may receive while any number send.
type conn struct {
	*net.UnixConn
	sending sync.Mutex
}

// send says one thing, with descriptors, which stay the caller's.
func (c *conn) send(kind string, body any, files ...*os.File) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	data, err := json.Marshal(message{Kind: kind, Body: text})
	if err != nil {
		return err
	}
	if len(data) > maxMessage || len(files) > maxFiles {
		return fmt.Errorf("a message of %d bytes and %d files is too large", len(data), len(files))
	}
	frame := append([]byte(wireMagic), wireVersion, byte(len(files)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(data)))
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	// The descriptors go with the header: a stream may be cut behind any byte,
	// but not between a byte and what comes along with it.
	if _, _, err := c.WriteMsgUnix(frame, rights, nil); err != nil {
		return err
	}
	_, err = c.Write(data)
	return err
}

// receive waits for the next message. io.EOF says that the other end is closed.
func (c *conn) receive() (*message, error) { return readMessage(c) }

// rightsReader is what a message is read from.
type rightsReader interface {
	io.Reader
	ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error)
}

func readMessage(r rightsReader) (_ *message, err error) {
	header := make([]byte, wireHeader)
	files, err := readHeader(r, header)
	m := &message{files: files}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if string(header[:len(wireMagic)]) != wireMagic {
		return nil, errForeign
	}
	if version := header[len(wireMagic)]; version != wireVersion {
		return nil, fmt.Errorf("%w: version %d, and this is %d", errForeign, version, wireVersion)
	}
	length := binary.BigEndian.Uint32(header[len(wireMagic)+2:])
	if length > maxMessage || int(header[len(wireMagic)+1]) != len(files) {
		return nil, errForeign
	}
	// A stranger's length alone takes no memory.
	data, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err != nil {
		return nil, err
	}
	if len(data) < int(length) {
		return nil, io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(data, m); err != nil || m.Kind == "" {
		return nil, errForeign
	}
	return m, nil
}

// readHeader fills header, and takes the descriptors that come with it.
func readHeader(r rightsReader, header []byte) (files []*os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	for got := 0; got < len(header); {
		n, oobn, flags, _, err := r.ReadMsgUnix(header[got:], oob)
		more, rightsErr := takeFiles(oob[:oobn])
		files = append(files, more...)
		switch {
		case err != nil:
			return files, err
		case rightsErr != nil || flags&unix.MSG_CTRUNC != 0 || len(files) > maxFiles:
			return files, errForeign
		case n == 0 && got == 0:
			return files, io.EOF
		case n == 0:
			return files, io.ErrUnexpectedEOF
		}
		got += n
	}
	return files, nil
}

func takeFiles(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials, which nobody asked for
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// told is an error on its way to a client.
type told struct {
	Cause, Remedy string
	Detail        []string
	Code          int
	Running       bool `json:",omitempty"` // it is ErrRunning
	NotRunning    bool `json:",omitempty"` // it is ErrNotRunning
}

func tellError(err error) told {
	var f *fault.Error
	t := told{
		Cause: err.Error(), Remedy: fault.Remedy(err), Detail: fault.Detail(err),
		Running: errors.Is(err, ErrRunning), NotRunning: errors.Is(err, ErrNotRunning),
	}
	if errors.As(err, &f) {
		t.Code = f.Code
	}
	return t
}

// fault is what a client makes of it.
func (t told) fault() error {
	cause := errors.New(t.Cause)
	switch {
	case t.Running:
		cause = ErrRunning
	case t.NotRunning:
		cause = notRunning{cause}
	}
	return &fault.Error{Err: cause, Remedy: t.Remedy, Detail: t.Detail, Code: t.Code}
}
