package emulate

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is a thread group. Credentials of single threads, which C libraries
// don't offer, aren't told apart.
type process struct {
	pid  int
	hold int // a descriptor of it, by which to see whether the number is still its own
	cred Credentials
	caps capabilities
	// beginning says that it is the runtime yet, whose own calls aren't the
	// program's.
	beginning bool
}

// alive tells whether the process has its number still.
func (p *process) alive() bool {
	return p.hold < 0 || unix.PidfdSendSignal(p.hold, 0, nil, 0) != unix.ESRCH
}

// begin takes up the runtime's process that is about to become the first program.
func (s *Supervisor) begin(tid int) {
	st := readStatus(tid)
	p := s.add(st.tgid, process{cred: s.next, caps: s.next.capabilities()})
	p.beginning = true
	var root unix.Stat_t
	if s.root == (inode{}) && unix.Stat(fmt.Sprintf("/proc/%d/root", tid), &root) == nil {
		s.root = inodeOf(&root)
		s.findMounts(tid)
	}
}

// findMounts finds out on which mounts owners are written down. What the program
// mounts itself isn't one.
func (s *Supervisor) findMounts(tid int) {
	top := fmt.Sprintf("/proc/%d/root", tid)
	s.mount = mountOf(unix.AT_FDCWD, top, 0)
	s.writable = map[uint64]bool{s.mount: true}
	for _, place := range s.o.Own {
		if fd, err := openBelow(top, place, unix.O_PATH|unix.O_CLOEXEC, unix.RESOLVE_IN_ROOT); err == nil {
			s.writable[mountOf(fd, "", unix.AT_EMPTY_PATH)] = true
			_ = unix.Close(fd)
		}
	}
}

// mountOf gives the number of the mount that a file lies on, 0 where it isn't known.
func mountOf(dir int, path string, flags int) uint64 {
	var x unix.Statx_t
	if unix.Statx(dir, path, flags, unix.STATX_MNT_ID, &x) != nil || x.Mask&unix.STATX_MNT_ID == 0 {
		return 0
	}
	return x.Mnt_id
}

// first is a process with what the first program begins with.
func (s *Supervisor) first() process {
	return process{cred: s.o.User, caps: s.o.User.capabilities()}
}

// child is what a child of the process begins with.
func (p *process) child() process { return process{cred: p.cred, caps: p.caps} }

func (s *Supervisor) add(pid int, is process) *process {
	if len(s.processes) >= sweepAt {
		s.sweep()
	}
	hold, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		hold = -1 // it has just ended
	}
	p := &is
	p.pid, p.hold = pid, hold
	s.processes[pid] = p
	return p
}

// sweepAt is how many processes are remembered before the dead ones are looked for.
const sweepAt = 512

func (s *Supervisor) sweep() {
	for pid, p := range s.processes {
		if p.hold < 0 || !p.alive() {
			s.drop(pid, p)
		}
	}
	clear(s.threads)
}

// forget lets go of all processes: nothing is answered any more.
func (s *Supervisor) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, p := range s.processes {
		s.drop(pid, p)
	}
	clear(s.threads)
	_ = s.kept.files.Close() // nobody wants them any more
}

func (s *Supervisor) drop(pid int, p *process) {
	if p.hold >= 0 {
		_ = unix.Close(p.hold)
	}
	delete(s.processes, pid)
}

// process gives the thread group of a thread. One that is seen for the first time
// has the credentials of its parent: it has changed none itself.
func (s *Supervisor) process(tid int) *process {
	if p := s.known(tid); p != nil {
		return p
	}
	if p := s.threads[tid]; p != nil && s.processes[p.pid] == p && p.alive() && unix.Tgkill(p.pid, tid, 0) == nil {
		return p
	}
	st := readStatus(tid)
	if st.tgid != tid {
		p := s.process(st.tgid)
		s.threads[tid] = p
		return p
	}
	return s.add(tid, s.inherited(st.parent))
}

func (s *Supervisor) known(pid int) *process {
	p := s.processes[pid]
	if p == nil || p.alive() {
		return p
	}
	s.drop(pid, p)
	return nil
}

// inherited is what a child of the process begins with. Whose parent isn't of this
// sandbox was started into it, or has lost its own parent.
func (s *Supervisor) inherited(parent int) process {
	if parent <= 1 || parent == os.Getpid() {
		return s.first()
	}
	p := s.known(parent)
	if p == nil {
		st := readStatus(parent)
		if st.filters <= s.filters {
			return s.first()
		}
		p = s.process(parent)
	}
	return p.child()
}

// adopt settles the credentials of a process's children, before its own change or
// it ends.
func (s *Supervisor) adopt(p *process) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
	if err != nil {
		return
	}
	for _, task := range tasks {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", p.pid, task.Name()))
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(child); err == nil && s.known(pid) == nil {
				s.add(pid, p.child())
			}
		}
	}
}

// status is what proc(5) tells of a thread.
type status struct {
	tgid, parent int
	umask        uint32
	inner        string // its process's number where it lives
	filters      int    // of seccomp that it has
	name         string
}

func readStatus(tid int) status {
	st := status{tgid: tid}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return st
	}
	for len(data) > 0 {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		name, text, _ := strings.Cut(string(line), ":")
		text = strings.TrimSpace(text)
		switch name {
		case "Name":
			st.name = text
		case "Tgid":
			st.tgid, _ = strconv.Atoi(text)
		case "PPid":
			st.parent, _ = strconv.Atoi(text)
		case "Umask":
			n, _ := strconv.ParseUint(text, 8, 32)
			st.umask = uint32(n)
		case "NSpid":
			fields := strings.Fields(text)
			st.inner = fields[len(fields)-1]
		case "Seccomp_filters":
			st.filters, _ = strconv.Atoi(text)
		}
	}
	return st
}
