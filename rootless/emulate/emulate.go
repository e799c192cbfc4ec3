// Package emulate lets programs believe in ids that their user namespace doesn't
// map. Where only one id is mapped the kernel refuses every chown and setuid to
// another, before any file system sees it. Here the seccomp filter hands such calls
// to builder, which answers them: owners are kept in an attribute of the file, what
// a process has become is kept by thread group, and stat and getuid tell of both.
//
// That is no confinement, and takes none away: whatever isn't answered goes on in
// the kernel as if nobody had looked, and builder does only what the program could
// have done itself, below the program's own root directory. To the kernel every
// process stays what it is; so one that believes to be another user may still read
// and write what root may.
//
// [Listen] makes the place to which an OCI runtime sends the filter's descriptor,
// [Extend] the filter, [Supervisor] answers. It can also only watch ([Observe]): then
// nothing is changed, and the calls that the kernel refuses are noted, so that a
// program's failure can be explained.
package emulate

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mode is what is done with the calls.
type Mode int

const (
	// Observe notes calls that a single id can't satisfy, and lets the kernel
	// answer.
	Observe Mode = iota + 1
	// Emulate answers them.
	Emulate
)

// Options tell how programs are supervised.
type Options struct {
	Mode Mode
	// User is what the first program begins as.
	User Credentials
	// Recorded gives the owner that a file of the root file system has in a
	// record elsewhere, because it can't bear attributes. It may be nil.
	Recorded func(path string) (Owner, bool)
	// Own are the places in the root directory where something of builder's is
	// mounted. Owners of what lies elsewhere beside the root file system, such as
	// directories of the user's, are remembered as long as the sandbox is, and
	// nothing is written to them.
	Own []string
	// Temp is a directory for what would take too much memory, "" the system's.
	Temp string
}

// Owner is who a file belongs to.
type Owner struct{ UID, GID uint32 }

// File is one whose owner was set, and that can't bear attributes: a link or
// special file of the root file system.
type File struct {
	// Path is the one that it had then, without a leading slash, and Inode its
	// number: it may have been renamed since.
	Path  string
	Inode uint64
	Times Times
	Owner Owner
}

// Times tell a file from another that has got its number or its name: when it was made,
// where the file system tells (0 where not), and when it was given its owner.
type Times struct{ Born, Changed unix.StatxTimestamp }

// Refusal is a call that the kernel refused for want of ids.
type Refusal struct {
	Call    string // as "chown"
	Program string // as the kernel calls the process
	ID      uint32 // that was asked for
	Groups  bool   // the call is setgroups, and none may be set
}

// Supervisor answers the calls of the programs of one sandbox. It is safe for
// concurrent use.
type Supervisor struct {
	o Options

	mu        sync.Mutex
	processes map[int]*process // by thread group
	threads   map[int]*process // by thread
	kept      *keptOwners
	plain     map[version]struct{}
	refusals  []Refusal
	next      Credentials     // of the next first program
	starting  sync.Mutex      // held while that is started
	root      inode           // the root directory
	mount     uint64          // the one that this lies on
	writable  map[uint64]bool // mounts on which owners are written down
	filters   int             // of seccomp that this process has itself
	groups    bool            // the kernel lets groups be set
}

// New makes a supervisor.
func New(o Options) *Supervisor {
	setgroups, err := os.ReadFile("/proc/self/setgroups")
	return &Supervisor{
		next:      o.User,
		o:         o,
		processes: map[int]*process{}, threads: map[int]*process{},
		kept: newKept(o.Temp), plain: map[version]struct{}{},
		filters: readStatus(os.Getpid()).filters,
		groups:  err != nil || strings.TrimSpace(string(setgroups)) == "allow",
	}
}

// Start calls start, which has the runtime start one more program in the sandbox. It
// begins as user.
func (s *Supervisor) Start(user Credentials, start func() error) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	s.mu.Lock()
	s.next = user
	s.mu.Unlock()
	return start()
}

// serve answers what arrives at a filter's descriptor, until nobody has the filter
// any more or stop reaches its end. It closes the former.
func (s *Supervisor) serve(filter, stop *os.File) {
	// A thread of its own, whose umask is nobody else's: what is made for a
	// program has that one's. It isn't unlocked, and so ends with this function.
	runtime.LockOSThread()
	defer filter.Close()
	if unix.Unshare(unix.CLONE_FS) != nil {
		return
	}
	unix.Umask(0)
	n := &notifier{fd: int(filter.Fd())}
	n.speedUp()
	first := true
	for n.wait(int(stop.Fd())) {
		req, err := n.receive()
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // the caller was killed meanwhile
		}
		if err != nil {
			return
		}
		s.mu.Lock()
		if first {
			// The runtime itself, about to become the program.
			s.begin(int(req.PID))
			first = false
		}
		answer := s.answer(n, req)
		s.mu.Unlock()
		n.send(req, answer)
	}
}

// Seen is what a supervisor has learnt that nobody else knows.
type Seen struct {
	// Files are those that bear no owner in an attribute, nil where there are none.
	// They are whoever's who asked.
	Files *Files
	// Refusals are the first few of the calls that the kernel has refused.
	Refusals []Refusal
}

// Seen gives what was seen so far, of files since it was last called; nil where that is
// nothing.
func (s *Supervisor) Seen() *Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.kept.any && len(s.refusals) == 0 {
		return nil
	}
	seen := &Seen{Refusals: slices.Clone(s.refusals)}
	if s.kept.any {
		seen.Files = &Files{kept: s.kept, mount: s.mount}
		s.kept = newKept(s.o.Temp)
	}
	return seen
}
