package sandbox

import (
	"context"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
)

// Chroot is a [Sandbox] that needs no runtime: builder is its own, see package chroot.
// It is safe for concurrent use.
//
// Where a mount namespace can be made, programs have what they have with [OCI]: the
// namespaces, docker's capabilities, seccomp profile and hidden paths. Plain is for
// root of a container who may do none of that: then a program is held by chroot
// alone, which is no barrier for who is root, and what needs a mount or a namespace is
// an error before it starts.
type Chroot struct{ oci *OCI }

// ChrootOptions choose the form.
type ChrootOptions struct {
	// Plain says that this process is in no namespace of builder's. Where it may mount
	// all the same, programs get namespaces all the same.
	Plain bool
}

// ownRuntime is the name of builder's own runtime.
const ownRuntime = "chroot"

// NewChroot makes one. The error, a *fault.Error, tells what this process lacks even
// for that.
func NewChroot(o ChrootOptions) (*Chroot, error) {
	own := Runtime{Name: ownRuntime, Path: "/proc/self/exe"}
	c := &Chroot{&OCI{runtime: own, pidNS: userns.PIDNamespace(), filters: newFilters(own, "")}}
	if o.Plain {
		c.oci.pidNS, c.oci.plain = false, MayMount() != nil
	}
	if c.oci.plain && !holds(unix.CAP_SYS_CHROOT) {
		return nil, fault.New("give the container CAP_SYS_CHROOT, as docker does (a pod: securityContext.capabilities.add: [SYS_CHROOT], runAsUser: 0)",
			"chroot isolation needs root with the capability SYS_CHROOT")
	}
	return c, nil
}

// Plain tells whether programs have neither mounts nor namespaces of their own.
func (c *Chroot) Plain() bool { return c.oci.plain }

// Run implements [Sandbox].
func (c *Chroot) Run(ctx context.Context, s Spec) (Exit, error) { return c.oci.Run(ctx, s) }

// Create makes a program that outlives the call, as [OCI.Create] does.
func (c *Chroot) Create(ctx context.Context, s Spec) (*Program, error) {
	if c.oci.plain {
		return nil, NoContainers()
	}
	return c.oci.Create(ctx, s)
}

// MayMount tells why this process can't make a mount namespace and mount in it; nil
// where it can. It is found out by trying, once.
func MayMount() error { return mayMount() }

var mayMount = sync.OnceValue(func() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return os.NewSyscallError("mount", err)
			}
			return os.NewSyscallError("mount", unix.Mount("tmpfs", "/", "tmpfs", 0, "size=4k"))
		}()
	}()
	return <-result
})

// holds tells whether this process has a capability.
func holds(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[capability/32].Effective&(1<<(capability%32)) != 0
}
