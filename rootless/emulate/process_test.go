package emulate

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A program may have as many processes as groups, 65536 of each.
func TestChildrenHaveOneListOfGroupsInCommon(t *testing.T) {
	s := New(Options{Mode: Emulate, User: Credentials{Groups: make([]uint32, maxGroups)}})
	first := s.first()
	list := &s.o.User.Groups[0]
	if child := first.child(); &first.cred.Groups[0] != list || &child.cred.Groups[0] != list {
		t.Error("a process has a copy of its parent's groups")
	}
}

func TestNoProcessIsHeldWhenNothingIsAnsweredAnyMore(t *testing.T) {
	s := New(Options{Mode: Emulate})
	l, err := s.Listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := s.add(os.Getpid(), s.first())
	if p.hold < 0 {
		t.Fatal("no descriptor of a process can be had")
	}
	l.Close()
	if err := unix.PidfdSendSignal(p.hold, 0, nil, 0); err != unix.EBADF || len(s.processes) > 0 {
		t.Error("a process is still held:", err)
	}
}
