package chroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/chroot/seccomp"
)

// filter is a compiled seccomp profile, which may be empty.
type filter struct {
	program []unix.SockFilter
	flags   []rspec.LinuxSeccompFlag
	answers int // the socket of who answers calls, -1 where nobody does
}

func compile(profile *rspec.LinuxSeccomp) (f filter, err error) {
	if profile == nil {
		return f, nil
	}
	if f.program, err = seccomp.Compile(profile); errors.Is(err, seccomp.ErrArchitecture) {
		err = fault.New("install crun, or go on without: --security-opt seccomp=unconfined", "seccomp profile: %w", err)
	}
	f.flags = profile.Flags
	return f, err
}

// openAnswers connects to who answers calls (listenerPath of the specification), as
// long as that can be reached.
func (c *child) openAnswers() error {
	profile := c.spec.Linux.Seccomp
	if profile == nil || profile.ListenerPath == "" {
		return nil
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: profile.ListenerPath, Net: "unix"})
	if err != nil {
		return fmt.Errorf("seccomp listener: %w", err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { c.answers, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return errors.Join(err, failed)
}

// load puts the filter over this thread. Whatever it does next may have to be answered
// already: so the message is ready before.
func (f filter) load() error {
	if f.program == nil {
		return nil
	}
	state, err := json.Marshal(rspec.ContainerProcessState{
		Version: rspec.Version, Fds: []string{rspec.SeccompFdName}, Pid: os.Getpid(),
	})
	if err != nil {
		return err
	}
	fd, err := seccomp.Load(f.program, f.flags, f.answers >= 0)
	if err != nil || f.answers < 0 {
		return fmtError("loading the seccomp profile", err)
	}
	err = unix.Sendmsg(f.answers, state, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	return fmtError("handing over the seccomp filter", errors.Join(err, unix.Close(fd), unix.Close(f.answers)))
}
