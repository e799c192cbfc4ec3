package sandbox

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/emulate"
	"github.com/builder-oci/builder/rootless/userns"
)

// The test binary is also the program in the sandbox: it tries system calls
// and prints how they went.

const probeMarker = "SANDBOX_TEST_PROBE"

type attempt struct {
	name   string
	want   string // what docker's profile and capabilities make of it; "" leaves it to the runtime
	number uintptr
	args   [5]uintptr
}

// attempts are calls with arguments that do no harm where they are let
// through. EPERM is the profile's word, ENOSYS its word for clone3.
var attempts = []attempt{
	{"unshare(NEWUSER)", "EPERM", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWUSER}},
	{"unshare(NEWNS)", "EPERM", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWNS}},
	{"unshare(0)", "EPERM", unix.SYS_UNSHARE, [5]uintptr{0}},
	{"setns(-1)", "EPERM", unix.SYS_SETNS, [5]uintptr{^uintptr(0)}},
	{"clone(NEWUSER)", "EPERM", unix.SYS_CLONE, [5]uintptr{unix.CLONE_NEWUSER}},
	{"clone3", "ENOSYS", unix.SYS_CLONE3, [5]uintptr{}},
	{"mount", "EPERM", unix.SYS_MOUNT, [5]uintptr{}},
	{"umount2", "EPERM", unix.SYS_UMOUNT2, [5]uintptr{}},
	{"open_tree", "EPERM", unix.SYS_OPEN_TREE, [5]uintptr{^uintptr(0)}},
	{"fsopen", "EPERM", unix.SYS_FSOPEN, [5]uintptr{}},
	{"pivot_root", "EPERM", unix.SYS_PIVOT_ROOT, [5]uintptr{}},
	{"keyctl", "EPERM", unix.SYS_KEYCTL, [5]uintptr{^uintptr(0)}},
	{"add_key", "EPERM", unix.SYS_ADD_KEY, [5]uintptr{}},
	{"request_key", "EPERM", unix.SYS_REQUEST_KEY, [5]uintptr{}},
	{"bpf", "EPERM", unix.SYS_BPF, [5]uintptr{^uintptr(0)}},
	{"perf_event_open", "EPERM", unix.SYS_PERF_EVENT_OPEN, [5]uintptr{}},
	{"userfaultfd", "EPERM", unix.SYS_USERFAULTFD, [5]uintptr{^uintptr(0)}},
	{"io_uring_setup", "EPERM", unix.SYS_IO_URING_SETUP, [5]uintptr{}},
	{"kexec_load", "EPERM", unix.SYS_KEXEC_LOAD, [5]uintptr{}},
	{"init_module", "EPERM", unix.SYS_INIT_MODULE, [5]uintptr{}},
	{"reboot", "EPERM", unix.SYS_REBOOT, [5]uintptr{}},
	{"swapon", "EPERM", unix.SYS_SWAPON, [5]uintptr{}},
	{"settimeofday", "EPERM", unix.SYS_SETTIMEOFDAY, [5]uintptr{}},
	{"open_by_handle_at", "EPERM", unix.SYS_OPEN_BY_HANDLE_AT, [5]uintptr{^uintptr(0)}},
	{"kcmp", "EPERM", unix.SYS_KCMP, [5]uintptr{1, 1, 0, 0, 0}},
	{"pidfd_getfd", "EPERM", unix.SYS_PIDFD_GETFD, [5]uintptr{^uintptr(0)}},
	{"quotactl", "EPERM", unix.SYS_QUOTACTL, [5]uintptr{^uintptr(0)}},
	{"acct", "EPERM", unix.SYS_ACCT, [5]uintptr{}},
	{"socket(VSOCK)", "EPERM", unix.SYS_SOCKET, [5]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM}},
	{"personality(READ_IMPLIES_EXEC)", "EPERM", unix.SYS_PERSONALITY, [5]uintptr{0x0400000}},
	{"an unknown call", "", 999, [5]uintptr{}},

	{"personality(query)", "ok", unix.SYS_PERSONALITY, [5]uintptr{0xffffffff}},
	{"socket(INET)", "ok", unix.SYS_SOCKET, [5]uintptr{unix.AF_INET, unix.SOCK_STREAM}},
	{"socket(UNIX)", "ok", unix.SYS_SOCKET, [5]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
	{"getpid", "ok", unix.SYS_GETPID, [5]uintptr{}},
	{"chroot(null)", "EFAULT", unix.SYS_CHROOT, [5]uintptr{}},
	{"ptrace(unknown)", "ESRCH", unix.SYS_PTRACE, [5]uintptr{^uintptr(0), 99999}},
	{"process_vm_readv(nothing)", "ok", unix.SYS_PROCESS_VM_READV, [5]uintptr{99999, 0, 0, 0, 0}},
	{"setuid(0)", "ok", unix.SYS_SETUID, [5]uintptr{0}},
	{"prctl(get seccomp)", "ok", unix.SYS_PRCTL, [5]uintptr{unix.PR_GET_SECCOMP}},
	{"statx(null)", "EFAULT", unix.SYS_STATX, [5]uintptr{}},
	{"close_range(empty)", "EINVAL", unix.SYS_CLOSE_RANGE, [5]uintptr{2, 1}},
}

func probe() int {
	runtime.LockOSThread()
	for _, a := range attempts {
		_, _, errno := unix.Syscall6(a.number, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], 0)
		verdict := "ok"
		if errno != 0 {
			verdict = unix.ErrnoName(errno)
		}
		fmt.Printf("%s: %s\n", a.name, verdict)
	}
	return 0
}

// probeSpec runs the probe.
func probeSpec(t testing.TB) Spec {
	t.Helper()
	s := shell(t, "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Mounts = []Mount{{Type: "bind", Source: self, Destination: "/probe", Options: []string{"bind"}}}
	s.Args, s.Env = []string{"/probe"}, append(s.Env, probeMarker+"=1")
	return s
}

func TestSeccompVerdictsAreDockersAndDontDependOnHowTheFilterCame(t *testing.T) {
	needNamespace(t)
	for _, rt := range withOwn(t) {
		if rt.Name != "crun" {
			showCgroups()
		}
		stock := NewOCI(rt, "", true)
		want := output(t, stock, probeSpec(t))
		for i, line := range strings.Split(strings.TrimSpace(want), "\n") {
			if a := attempts[i]; a.want != "" && line != a.name+": "+a.want {
				t.Errorf("%s, stock profile: %s, want %s", rt.Name, line, a.want)
			}
		}
		ready := NewOCI(rt, t.TempDir(), true)
		for range 2 { // harvested, then from memory
			if got := output(t, ready, probeSpec(t)); got != want {
				t.Errorf("%s: ready-made gives\n%s\nstock gives\n%s", rt.Name, got, want)
			}
		}
	}
}

func TestReadyFilterFollowsTheCapabilities(t *testing.T) {
	needNamespace(t)
	o := NewOCI(runtimes(t)[0], t.TempDir(), true)
	s := probeSpec(t)
	s.CapAdd = []string{"SYS_ADMIN"}
	if got := output(t, o, s); !strings.Contains(got, "unshare(NEWNS): ok") {
		t.Errorf("with CAP_SYS_ADMIN: %s", got)
	}
	s.CapAdd = nil
	if got := output(t, o, s); !strings.Contains(got, "unshare(NEWNS): EPERM") {
		t.Errorf("without CAP_SYS_ADMIN: %s", got)
	}
}

func TestReadyFilterIsTakenFromTheCacheOnlyWhole(t *testing.T) {
	needNamespace(t)
	cache := t.TempDir()
	rt := runtimes(t)[0]
	want := output(t, NewOCI(rt, cache, true), probeSpec(t))
	path := cachedFilter(t, cache)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	instructions := good[bytes.IndexByte(good, '\n')+1:]
	allow := []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f} // BPF_RET SECCOMP_RET_ALLOW
	zeros := hex.EncodeToString(make([]byte, 32))
	for name, bad := range map[string][]byte{
		"empty":          nil,
		"short":          good[:len(good)-8],
		"without digest": instructions,
		"wrong digest":   append([]byte(zeros+"\n"), instructions...),
		"another":        append(append([]byte{}, good[:65]...), allow...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := output(t, NewOCI(rt, cache, true), probeSpec(t)); got != want {
			t.Errorf("%s: verdicts\n%s", name, got)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, good) {
			t.Errorf("%s: the cached filter wasn't made anew", name)
		}
	}
}

// cachedFilter is the file of the one filter. With a single id programs are watched by
// a filter of their own, which nobody keeps.
func cachedFilter(t *testing.T, cache string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(cache, "seccomp-*.bpf"))
	mapping, err := userns.Current()
	if err != nil {
		t.Fatal(err)
	}
	watched := mapping.Kind == userns.KindSingle && emulate.Unsupported() == nil
	if watched && len(names) == 0 {
		t.Skip("with a single id no filter is kept")
	}
	if watched || len(names) != 1 {
		t.Fatalf("cached filters: %v", names)
	}
	return names[0]
}

func TestFilterThatCrunRefusesIsReplacedByTheProfile(t *testing.T) {
	needNamespace(t)
	cache := t.TempDir()
	rt := runtimes(t)[0]
	want := output(t, NewOCI(rt, cache, true), probeSpec(t))
	// An instruction that no kernel loads.
	if err := writeFilter(cachedFilter(t, cache), bytes.Repeat([]byte{0xff}, 8)); err != nil {
		t.Fatal(err)
	}
	if got := output(t, NewOCI(rt, cache, true), probeSpec(t)); got != want {
		t.Errorf("verdicts\n%s", got)
	}
}

// TestSeccompHoldsFor32BitCalls runs a hand-made 32-bit program that calls
// unshare(CLONE_NEWUSER) and exits with the error's number.
func TestSeccompHoldsFor32BitCalls(t *testing.T) {
	needNamespace(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("32-bit calls by int 0x80 exist on amd64")
	}
	code := []byte{
		0xb8, 0x36, 0x01, 0, 0, // mov $310, %eax: unshare
		0xbb, 0, 0, 0, 0x10, // mov $CLONE_NEWUSER, %ebx
		0xcd, 0x80, // int $0x80
		0xf7, 0xd8, // neg %eax
		0x89, 0xc3, // mov %eax, %ebx
		0xb8, 1, 0, 0, 0, // mov $1, %eax: exit
		0xcd, 0x80, // int $0x80
	}
	const base, headers = 0x10000, 52 + 32
	var image bytes.Buffer
	header := elf.Header32{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1,
	}
	size := uint32(headers + len(code))
	segment := elf.Prog32{
		Type: uint32(elf.PT_LOAD), Vaddr: base, Paddr: base, Filesz: size, Memsz: size,
		Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x1000,
	}
	for _, part := range []any{header, segment, code} {
		if err := binary.Write(&image, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	crun := runtimes(t)[0]
	for name, o := range map[string]*OCI{
		"crun": NewOCI(crun, "", true), "crun, ready-made": NewOCI(crun, t.TempDir(), true), "builder's own": NewOCI(withOwn(t)[2], "", true),
	} {
		s := shell(t, "")
		if err := os.WriteFile(filepath.Join(s.RootFS, "small"), image.Bytes(), 0o755); err != nil {
			t.Fatal(err)
		}
		s.Args = []string{"/small"}
		exit, err := o.Run(t.Context(), s)
		if err != nil || exit.Code != int(unix.EPERM) {
			t.Errorf("%s: %+v, %v; want code %d", name, exit, err, unix.EPERM)
		}
	}
}
