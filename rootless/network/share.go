package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that nothing runs in the network that is to be shared.
var ErrNotRunning = errors.New("no program is running there")

// OfContainer opens the network namespace that a container's programs are in,
// whose monitor is process pid. The caller is in the host's network. Any process
// of the monitor's user may do that, but only one in the monitor's user
// namespace can go in.
func OfContainer(pid int) (*os.File, error) {
	// A process's main thread may have gone into a namespace, see bindNew.
	host, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			f, err := os.Open("/proc/" + child + "/ns/net")
			if err != nil {
				continue // so has the process
			}
			// The monitor's helpers are in the host's.
			if info, err := f.Stat(); err == nil && !os.SameFile(info, host) {
				return f, nil
			}
			_ = f.Close()
		}
	}
	return nil, ErrNotRunning
}

// Share gives a namespace that another container owns to sandboxes of this
// process, which is in the owner's user namespace. ns is OfContainer's, and may
// be closed then. Of the network's end its owner decides. dir is a private
// run-time directory.
func Share(dir string, ns *os.File) (n *Namespace, err error) {
	n = &Namespace{}
	if n.file, err = newFile(dir); err != nil {
		return nil, fmt.Errorf("sharing a network namespace: %w", err)
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(ns.Fd())), n.file.Name(), "", unix.MS_BIND, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("sharing a network namespace: %w", os.NewSyscallError("mount", err)), n.Close())
	}
	n.Path = n.file.Name()
	return n, nil
}
