package userns

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// A Go program has several threads, and the kernel lets none of these into
// another user namespace. nsenter goes there, and becomes this program as the
// relay, which makes the inner process, a sibling of its own, and ends.

// mappingOf gives the mapping of the user namespace that process pid is in.
func mappingOf(pid int) (m Mapping, err error) {
	if m.UIDs, err = readMap(fmt.Sprintf("/proc/%d/uid_map", pid)); err == nil {
		m.GIDs, err = readMap(fmt.Sprintf("/proc/%d/gid_map", pid))
	}
	if err != nil {
		return m, fault.New("", "process %d, whose user namespace is to be shared, has ended: %w", pid, err)
	}
	var mine bool
	if m.UID, mine = insideID(m.UIDs, os.Geteuid()); !mine {
		return m, fault.New("", "process %d isn't in a user namespace of yours", pid)
	}
	m.GID, _ = insideID(m.GIDs, os.Getegid())
	switch {
	case total(m.UIDs) == 1 || total(m.GIDs) == 1:
		m.Kind = KindSingle
	case os.Geteuid() == 0 && !doctor.InitialNamespace():
		m.Kind = KindSelf
	default:
		m.Kind = KindRange
	}
	return m, nil
}

// insideID gives what an id is called inside.
func insideID(maps []IDMap, id int) (uint32, bool) {
	for _, m := range maps {
		if uint32(id) >= m.HostID && uint32(id)-m.HostID < m.Size {
			return m.ContainerID + uint32(id) - m.HostID, true
		}
	}
	return 0, false
}

// forkJoined is fork for a user namespace that is there. What the relay has to
// say comes by ours.
func (o *outer) forkJoined(ours, control *os.File, pidNS bool, stepDown string) (*os.Process, error) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fault.Machine(doctor.Install("nsenter"), "another container's network can only be shared by nsenter, and that isn't installed")
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer func() { _ = exe.Close() }()
	cmd := exec.Command(nsenter, "--target", strconv.Itoa(o.join), "--user")
	if o.mapping.UID == 0 && o.mapping.GID == 0 {
		// It is root there already, and may be forbidden to change groups.
		cmd.Args = append(cmd.Args, "--preserve-credentials")
	}
	files := append([]*os.File{control}, o.files...)
	cmd.ExtraFiles = append(files, os.Stderr, exe)
	cmd.Args = append(cmd.Args, "--", fmt.Sprintf("/proc/self/fd/%d", controlFD+len(files)+1))
	args := o.args
	if args == nil {
		args = os.Args
	}
	cmd.Args = append(cmd.Args, args[1:]...)
	if cmd.Env, err = o.environment(pidNS, stepDown); err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %s", envRelay, len(files), args[0]))
	stdin, closeStdin, err := o.input()
	if err != nil {
		return nil, err
	}
	defer closeStdin()
	cmd.Stdin, cmd.Stdout = stdin, cmp.Or(o.stdout, os.Stdout)
	return o.runRelay(cmd, ours)
}

// runRelay runs the relay to its end, and gives the process that it has made.
func (o *outer) runRelay(cmd *exec.Cmd, ours *os.File) (*os.Process, error) {
	closeOnExec()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return nil, fault.New("", "entering the user namespace of process %d: %s (%w)",
			o.join, strings.TrimPrefix(strings.TrimSpace(said.String()), "nsenter: "), err)
	}
	answer := make([]byte, 32)
	n, err := ours.Read(answer)
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(string(answer[:n]))
	switch {
	case err != nil:
		return nil, err
	case pid < 0:
		return nil, syscall.Errno(-pid)
	}
	return os.FindProcess(pid)
}

// relay makes the inner process, whose parent is this one's, tells its pid, or
// the error's number with a minus sign, and ends.
func relay() error {
	number, name, _ := strings.Cut(os.Getenv(envRelay), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return fault.New("", "%s is set, but builder didn't start this process", envRelay)
	}
	stderr := os.NewFile(uintptr(controlFD+n), "stderr")
	files := []*os.File{os.Stdin, os.Stdout, stderr}
	for fd := range n {
		files = append(files, os.NewFile(uintptr(controlFD+fd), "file"))
	}
	attr := &os.ProcAttr{Files: files, Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_PARENT, Setsid: true}}
	if PIDNamespace() {
		attr.Sys.Cloneflags |= unix.CLONE_NEWPID
	}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, envRelay+"=") {
			attr.Env = append(attr.Env, variable)
		}
	}
	closeOnExec() // or what is meant for this process alone would stay open
	result := 0
	process, err := os.StartProcess("/proc/self/exe", append([]string{name}, os.Args[1:]...), attr)
	if err == nil {
		result = process.Pid
	} else if number := syscall.Errno(0); errors.As(err, &number) {
		result = -int(number)
	} else {
		return err
	}
	if _, err := unix.Write(controlFD, []byte(strconv.Itoa(result))); err != nil {
		return os.NewSyscallError("write", err)
	}
	os.Exit(0)
	return nil
}
