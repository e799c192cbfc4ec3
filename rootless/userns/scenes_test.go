package userns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scenes gives what the test binary plays in a user namespace; each scene
// gives an exit code.
func scenes(name string) func(args []string) int {
	return map[string]func(args []string) int{
		"state": state, "exit": exit, "signals": signals, "interrupts": interrupts,
		"sleep": sleep, "daemon": daemon, "family": family, "orphans": orphans,
		"nested": nested, "covered": covered, "limited": limited, "filtered": filtered,
		"files": files, "powerless": powerless, "no-new-privs": noNewPrivs,
		"filtered-plainly": filteredPlainly,
	}[name]
}

// state tells what Enter and Setup promise.
func state([]string) int {
	mapping, err := Current()
	fmt.Println("mapping", mapping.Kind, mapping.Exact(), err)
	fmt.Println("ids", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	fmt.Println("pid 1", os.Getpid() == 1, PIDNamespace(), StepDown() == "")
	fmt.Println("lack", Lack())
	fmt.Println("mounts", MountNamespace())
	fmt.Println("extra", os.Getenv("BUILDER_TEST_EXTRA"))
	var death int32
	err = unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&death)), 0, 0, 0)
	fmt.Println("death signal", death, err)
	fmt.Println("inheritable", threadsWith("CapInh:\t0000000000000000") && threadsWith("CapAmb:\t0000000000000000"))
	fmt.Println("effective", !threadsWith("CapEff:\t0000000000000000"))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	fmt.Println("private mounts", !bytes.Contains(mounts, []byte(" shared:")), err)
	fds, err := exec.Command("/bin/sh", "-c", "for n in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$n && echo $n; done; true").Output()
	fmt.Println("descriptors", string(bytes.Join(bytes.Fields(fds), []byte(" "))), err)
	return 0
}

// threadsWith tells whether every thread has line in its status.
func threadsWith(line string) bool {
	tasks, err := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && !bytes.Contains(status, []byte(line)) {
			return false
		}
	}
	return err == nil
}

func exit(args []string) int {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return 1
	}
	return code
}

// signals tells each signal that comes, and ends by TERM as programs do.
func signals([]string) int {
	caught := make(chan os.Signal, 32)
	signal.Notify(caught, passedSignals...)
	fmt.Println("ready")
	for s := range caught {
		fmt.Println(s)
		if s == unix.SIGTERM {
			return 128 + int(unix.SIGTERM)
		}
	}
	return 0
}

// interrupts counts INT until USR1 comes.
func interrupts([]string) int {
	caught := make(chan os.Signal, 32)
	signal.Notify(caught, unix.SIGINT, unix.SIGUSR1)
	fmt.Println("ready")
	count := 0
	for s := range caught {
		if s == unix.SIGUSR1 {
			return count
		}
		count++
		fmt.Println("interrupted")
	}
	return 0
}

func sleep([]string) int {
	fmt.Println("asleep")
	time.Sleep(time.Hour)
	return 0
}

// files tells the user namespace and makes two files in a directory, one by a
// program that it starts.
func files(args []string) int {
	namespace, err := os.Readlink("/proc/self/ns/user")
	fmt.Println("namespace", namespace, err)
	mapping, err := Current()
	fmt.Println("caller", mapping.UID, mapping.GID, err)
	fmt.Println("own", os.WriteFile(args[0]+"/own", nil, 0o600))
	out, err := exec.Command("sh", "-c", "umask 077; : > $0/program; grep CapEff /proc/self/status", args[0]).CombinedOutput()
	fmt.Printf("program %s%v\n", out, err)
	fmt.Println("chown", os.Chown(args[0]+"/own", 1, 1), os.Chown(args[0]+"/own", int(mapping.UID), int(mapping.GID)))
	return 0
}

// daemon leaves a process behind, in a session of its own.
func daemon(args []string) int {
	cmd := self("plain", "sleep", args[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 1
	}
	return 0
}

// family has a child and an orphan, and waits.
func family(args []string) int {
	if err := self("plain", "daemon", args[0]).Run(); err != nil {
		return 1
	}
	if err := self("plain", "sleep", args[0]).Run(); err != nil {
		return 1
	}
	return 0
}

func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// orphans has a child that it waits for late, and one that it adopts. The
// adopted one must be reaped, the other one's code must come.
func orphans([]string) int {
	own := exec.Command("/bin/sh", "-c", "exit 7")
	if err := own.Start(); err != nil {
		return 1
	}
	adopt := exec.Command("/bin/sh", "-c", "sh -c 'sleep 0.1; exit 5' & echo $!")
	out, err := adopt.Output()
	if err != nil {
		return 1
	}
	orphan, err := strconv.Atoi(string(bytes.TrimSpace(out)))
	if err != nil {
		return 1
	}
	seen := false
	for {
		p, there := processes()[orphan]
		if !there {
			break
		}
		seen = seen || p.parent == os.Getpid()
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("adopted and reaped", seen)
	err = own.Wait()
	var exited *exec.ExitError
	if !errors.As(err, &exited) {
		fmt.Println("the child was stolen:", err)
		return 1
	}
	return exited.ExitCode()
}

func nested(args []string) int {
	cmd := self(append([]string{"enter"}, args...)...)
	return codeOf(cmd.Run())
}

// covered plays a scene in a namespace where no fresh /proc can be mounted,
// and stays until its input ends.
func covered(args []string) int {
	if err := unix.Mount("/dev/null", "/proc/version", "", unix.MS_BIND, ""); err != nil {
		fmt.Println("covering a part of /proc:", err)
		return 1
	}
	cmd := self(append([]string{"enter"}, args...)...)
	cmd.Stdin = nil
	code := codeOf(cmd.Run())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return 1
	}
	return code
}

// limited enters a namespace where no further one may be made.
func limited(args []string) int {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		fmt.Println("setting the limit:", err)
		return 1
	}
	return nested(args)
}

// filtered enters a namespace under a filter like those of container engines.
func filtered(args []string) int { return denied(args, denyUserNamespaces) }

// powerless enters a namespace whose root has no power, as AppArmor has it on
// Ubuntu: making and mapping it succeeds.
func powerless(args []string) int { return denied(args, denySetgroups) }

func denied(args []string, deny []unix.SockFilter) int {
	runtime.LockOSThread()
	if err := install(deny); err != nil {
		fmt.Println("installing the filter:", err)
		return 1
	}
	return nested(args)
}

// filteredPlainly goes on without a namespace where a filter denies one.
func filteredPlainly(args []string) int {
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) // or only root may install a filter
	if err == nil {
		err = install(denyUserNamespaces)
	}
	if err != nil {
		fmt.Println("installing the filter:", err)
		return 1
	}
	code, err := Enter(context.Background(), Options{Plain: PlainUser, Args: append([]string{os.Args[0], "scene"}, args...)})
	if err != nil {
		complain(err)
	}
	return code
}

const (
	allow       = unix.SECCOMP_RET_ALLOW
	denial      = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	load        = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIfEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	giveBack    = unix.BPF_RET | unix.BPF_K
	// Offsets in struct seccomp_data.
	callNumber, firstArgument = 0, 16
)

// denyUserNamespaces makes clone and unshare with CLONE_NEWUSER give EPERM.
var denyUserNamespaces = []unix.SockFilter{
	{Code: load, K: callNumber},
	{Code: jumpIfEqual, K: unix.SYS_CLONE, Jt: 1},
	{Code: jumpIfEqual, K: unix.SYS_UNSHARE, Jf: 3},
	{Code: load, K: firstArgument},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_NEWUSER, Jf: 1},
	{Code: giveBack, K: denial},
	{Code: giveBack, K: allow},
}

// denySetgroups makes setgroups give EPERM.
var denySetgroups = []unix.SockFilter{
	{Code: load, K: callNumber},
	{Code: jumpIfEqual, K: unix.SYS_SETGROUPS, Jf: 1},
	{Code: giveBack, K: denial},
	{Code: giveBack, K: allow},
}

// install puts a filter on all threads of this process, and what it starts.
func install(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// noNewPrivs enters a namespace although newuidmap can't gain privilege.
func noNewPrivs(args []string) int {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 1
	}
	mapping, err := Detect()
	if err != nil || mapping.Notice == nil {
		fmt.Println("no notice:", err)
		return 1
	}
	fmt.Println("notice:", mapping.Notice)
	code, err := Enter(context.Background(), Options{Args: append([]string{os.Args[0], "scene"}, args...)})
	if err != nil {
		complain(err)
	}
	return code
}
