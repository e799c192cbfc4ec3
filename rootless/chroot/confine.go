package chroot

import (
	"fmt"
	"os"
	"slices"
	"strings"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// setLimits sets the limits on resources.
func (c *child) setLimits() error {
	for _, r := range c.program.Rlimits {
		number, known := limits[strings.TrimPrefix(r.Type, "RLIMIT_")]
		if !known {
			return fmt.Errorf("there is no limit %s", r.Type)
		}
		if err := unix.Setrlimit(number, &unix.Rlimit{Cur: r.Soft, Max: r.Hard}); err != nil {
			return fmt.Errorf("setting %s: %w", r.Type, err)
		}
	}
	return nil
}

// setOOM sets how soon the program is killed for want of memory.
func (c *child) setOOM() error {
	if c.program.OOMScoreAdj == nil {
		return nil
	}
	err := os.WriteFile("/proc/self/oom_score_adj", fmt.Append(nil, *c.program.OOMScoreAdj), 0)
	return fmtError("setting oom_score_adj", err)
}

var limits = map[string]int{
	"AS": unix.RLIMIT_AS, "CORE": unix.RLIMIT_CORE, "CPU": unix.RLIMIT_CPU, "DATA": unix.RLIMIT_DATA,
	"FSIZE": unix.RLIMIT_FSIZE, "LOCKS": unix.RLIMIT_LOCKS, "MEMLOCK": unix.RLIMIT_MEMLOCK,
	"MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE, "NOFILE": unix.RLIMIT_NOFILE,
	"NPROC": unix.RLIMIT_NPROC, "RSS": unix.RLIMIT_RSS, "RTPRIO": unix.RLIMIT_RTPRIO,
	"RTTIME": unix.RLIMIT_RTTIME, "SIGPENDING": unix.RLIMIT_SIGPENDING, "STACK": unix.RLIMIT_STACK,
}

// confine takes from this thread what the program may not have.
func (c *child) confine() error {
	p := c.program
	filter, err := compile(c.spec.Linux.Seccomp)
	if err != nil {
		return err
	}
	filter.answers = c.answers
	// Without no_new_privs a filter is for who is root of his namespace, as this
	// thread is until it becomes the program's user.
	if !p.NoNewPrivileges {
		if err := filter.load(); err != nil {
			return err
		}
	}
	if err := c.takeUser(); err != nil {
		return err
	}
	if err := c.arm(); err != nil {
		return err
	}
	if c.late {
		if err := unix.Chdir(p.Cwd); err != nil {
			return pathError("chdir", p.Cwd, err)
		}
	}
	unix.Umask(0o022)
	if !p.NoNewPrivileges {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("no_new_privs", err)
	}
	return filter.load()
}

// setAppArmor chooses the profile that the program gets by its exec.
func (c *child) setAppArmor() error {
	profile := c.program.ApparmorProfile
	if profile == "" {
		return nil
	}
	var err error
	for _, file := range []string{"/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"} {
		if err = os.WriteFile(file, []byte("exec "+profile), 0); err == nil {
			return nil
		}
	}
	return fmt.Errorf("apparmor profile %s: %w", profile, err)
}

// takeUser becomes the program's user, with its capabilities.
func (c *child) takeUser() error {
	p := c.program
	set, err := c.capabilities()
	if err != nil {
		return err
	}
	if err := set.bound(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("keepcaps", err)
	}
	if err := setIDs(p.User); err != nil {
		return err
	}
	return set.apply()
}

// setIDs takes the ids of this thread alone.
func setIDs(u rspec.User) error {
	groups, err := os.ReadFile("/proc/self/setgroups")
	if denied := err == nil && strings.TrimSpace(string(groups)) == "deny"; !denied {
		if err := setGroups(u.AdditionalGids); err != nil {
			return fmt.Errorf("setting groups %v: %w", u.AdditionalGids, err)
		}
	}
	if err := setGID(u.GID); err != nil {
		return fmt.Errorf("becoming group %d: %w", u.GID, err)
	}
	if err := setUID(u.UID); err != nil {
		return fmt.Errorf("becoming user %d: %w", u.UID, err)
	}
	return nil
}

// arm has the kernel kill the program when the keeper ends: the change of
// credentials has disarmed that.
func (c *child) arm() error {
	if c.leftAlone {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("the parent-death signal", err)
	}
	// One that has ended before hears nothing any more. (Its number says nothing: it
	// is 0 where that is of another pid namespace.)
	return fmtError("builder has ended", say(saysArmed, nil))
}

// capSets are a thread's, as bits.
type capSets struct{ bounding, effective, permitted, inheritable uint64 }

// capabilities reads those of the program. In a pod builder may lack some of
// docker's itself.
func (c *child) capabilities() (set capSets, err error) {
	named := c.program.Capabilities
	if named == nil {
		return set, nil
	}
	for _, one := range []struct {
		names []string
		into  *uint64
	}{
		{named.Bounding, &set.bounding},
		{named.Effective, &set.effective},
		{named.Permitted, &set.permitted},
		{named.Inheritable, &set.inheritable},
	} {
		for _, name := range one.names {
			n := slices.Index(Capabilities, name)
			if n < 0 {
				return set, fmt.Errorf("there is no capability %s", name)
			}
			*one.into |= 1 << n
		}
	}
	if c.plain {
		return set.held()
	}
	return set, nil
}

// held leaves those of the sets that this thread has itself.
func (s capSets) held() (capSets, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return s, os.NewSyscallError("capget", err)
	}
	have := uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
	return capSets{s.bounding, s.effective & have, s.permitted & have, s.inheritable & have}, nil
}

// bound takes capabilities out of what any program below can get.
func (s capSets) bound() error {
	for n, name := range Capabilities {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err != nil || has == 0 || s.bounding&(1<<n) != 0 {
			continue // an error says that the kernel doesn't know it
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return fault.New("give builder CAP_SETPCAP (a pod: securityContext.capabilities.add: [SETPCAP])",
				"%s can't be taken from the program: %w", name, err)
		}
	}
	return nil
}

func (s capSets) apply() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective: uint32(s.effective >> shift), Permitted: uint32(s.permitted >> shift), Inheritable: uint32(s.inheritable >> shift),
		}
	}
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}
