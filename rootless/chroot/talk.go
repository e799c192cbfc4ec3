package chroot

import (
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// The child speaks to the keeper through a socket of messages.

// What a message's first byte says.
const (
	saysNothing  = 0   // the end of the conversation: exec, or death
	saysError    = 'e' // a complaint follows
	saysTerminal = 't' // with the master of the program's terminal
	saysReady    = 'r' // the program waits to be started
	saysArmed    = 'a' // nothing, but that somebody listens
)

// childSocket is the child's descriptor of it.
const childSocket = 3

type message struct {
	kind byte
	data []byte
	file *os.File
}

// err is what the child complains of.
func (m message) err() error {
	var c complaint
	if err := json.Unmarshal(m.data, &c); err != nil {
		return err
	}
	return fault.New(c.Remedy, "%s", c.Msg)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "keeper"), nil
}

// say sends a message from the child.
func say(kind byte, data []byte, files ...int) error {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	return unix.Sendmsg(childSocket, append([]byte{kind}, data...), rights, nil, unix.MSG_NOSIGNAL)
}

// receive waits for a message of the child's.
func receive(talk *os.File) (message, error) {
	data, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	for {
		n, cn, _, _, err := unix.Recvmsg(int(talk.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
			return message{}, nil
		case err != nil:
			return message{}, os.NewSyscallError("recvmsg", err)
		}
		m := message{kind: data[0], data: data[1:n]}
		messages, _ := unix.ParseSocketControlMessage(control[:cn])
		for _, c := range messages {
			if fds, err := unix.ParseUnixRights(&c); err == nil && len(fds) == 1 {
				m.file = os.NewFile(uintptr(fds[0]), "/dev/ptmx")
			}
		}
		return m, nil
	}
}
