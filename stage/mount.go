package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// Mount is one --mount of a RUN: what the command sees beside its tree. Nothing
// of it stands in the layer, whatever the command does to it. The types are
// BindMount, CacheMount, TmpfsMount, SecretMount, SSHMount, HostMount and
// HostDevice; paths called Target are absolute.
type Mount interface {
	// target is where the mount is seen; "" where it is seen nowhere.
	target() string
	// declaration is the mount in words, as far as it decides what the command
	// may do: neither the files that it shows nor any secret.
	declaration() string
	// reads is the source whose files the mount shows, nil for none, and the
	// path there.
	reads() (Source, string)
	// attach adds to the sandbox. shown is what reads was resolved to.
	attach(ctx context.Context, a *attachment, shown *shown) error
}

// attachment is a sandbox that gets its mounts.
type attachment struct {
	r    *Runner
	spec *sandbox.Spec
	undo []func() error
	ssh  int                      // ssh mounts so far
	held map[digest.Digest]string // the directories of cache mounts
}

// attach makes the mounts of a RUN ready and adds them to its sandbox. detach
// is to be called, also after an error, when nothing runs in the sandbox any
// more.
func (in Run) attach(ctx context.Context, r *Runner, spec *sandbox.Spec, shows []*shown) (detach func() error, err error) {
	a := &attachment{r: r, spec: spec, held: map[digest.Digest]string{}}
	detach = func() error {
		var errs []error
		for _, undo := range slices.Backward(a.undo) {
			errs = append(errs, undo())
		}
		return errors.Join(errs...)
	}
	if slices.ContainsFunc(in.Mounts, isPrivate) {
		if err := a.keepOffDisk(); err != nil {
			return detach, err
		}
	}
	if err := a.hold(ctx, in.Mounts, shows); err != nil {
		return detach, err
	}
	for i, m := range in.Mounts {
		if err := m.attach(ctx, a, shows[i]); err != nil {
			return detach, err
		}
	}
	return detach, nil
}

// isPrivate tells the mounts whose content must reach no disk.
func isPrivate(m Mount) bool {
	switch m.(type) {
	case SecretMount, SSHMount:
		return true
	}
	return false
}

// privateSize bounds what a RUN's secrets and the sandbox's own files take of
// the memory.
const privateSize = 64 << 20

// keepOffDisk puts a tmpfs over the sandbox's directory, which has the runtime's
// configuration with all of the environment besides the secrets themselves. No
// other mount namespace sees it, and it ends with the RUN, or with builder. Where
// nothing can be mounted, files lie on the disk as long as the command runs.
func (a *attachment) keepOffDisk() error {
	dir := a.spec.StateDir
	options := fmt.Sprintf("mode=0700,size=%d", privateSize)
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	if mountless(err) {
		return nil // the sandbox puts them into the tree as well, until the command has ended
	}
	if err != nil {
		return fmt.Errorf("mount a tmpfs for secrets: %w", err)
	}
	a.undo = append(a.undo, func() error { return unix.Unmount(dir, unix.MNT_DETACH) })
	return nil
}

// mountless tells whether a mount failed because this process may mount nothing: root
// of a container without a namespace of his own, see sandbox.Chroot.
func mountless(err error) bool {
	return (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && sandbox.MayMount() != nil
}

// move is add for what may be moved to target where nothing can be mounted.
func (a *attachment) move(source, target string, options ...string) {
	a.spec.Mounts = append(a.spec.Mounts, sandbox.Mount{
		Type: "bind", Source: source, Destination: target, Options: options, Move: true,
	})
}

// add shows source at target. A bind mount of a file or directory is kind "bind".
func (a *attachment) add(kind, source, target string, options ...string) {
	a.spec.Mounts = append(a.spec.Mounts, sandbox.Mount{
		Type: kind, Source: source, Destination: target, Options: options,
	})
}

// lend is add for a file or directory of the user's own.
func (a *attachment) lend(source, target string, options ...string) {
	a.spec.Mounts = append(a.spec.Mounts, sandbox.Mount{
		Type: "bind", Source: source, Destination: target, Options: options, Host: true,
	})
}

// own gives a file of a mount the owner that the instruction asks for.
func (a *attachment) own(path string, uid, gid uint32) error {
	if uid == 0 && gid == 0 {
		return nil
	}
	err := os.Lchown(path, int(uid), int(gid))
	if errors.Is(err, unix.EINVAL) {
		return fault.New("give the user subordinate ids: builder doctor tells how",
			"the mount can't belong to %d:%d: this id isn't mapped in the user namespace", uid, gid)
	}
	return err
}

// readOnly is the option that says who may write.
func readOnly(ro bool) string {
	if ro {
		return "ro"
	}
	return "rw"
}

// TmpfsMount is type=tmpfs: a directory in memory that ends with the command.
type TmpfsMount struct {
	Target   string `json:"target"`
	Size     int64  `json:"size,omitempty"` // bytes at most; 0 leaves it to the kernel
	ReadOnly bool   `json:"readOnly,omitempty"`
}

func (m TmpfsMount) declaration() string {
	return fmt.Sprintf("tmpfs target=%q size=%d %s", m.Target, m.Size, readOnly(m.ReadOnly))
}

func (m TmpfsMount) target() string { return m.Target }

func (m TmpfsMount) reads() (Source, string) { return nil, "" }

// attach mounts the tmpfs itself: of the runtimes some give it the mode that is
// asked for, and others that of the directory below.
func (m TmpfsMount) attach(_ context.Context, a *attachment, _ *shown) error {
	at, err := a.aside()
	if err != nil {
		return err
	}
	options := "mode=1777"
	if m.Size > 0 {
		options += fmt.Sprintf(",size=%d", m.Size)
	}
	err = unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	if mountless(err) {
		a.add("tmpfs", "tmpfs", m.Target, options, readOnly(m.ReadOnly))
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount a tmpfs for %s: %w", m.Target, err)
	}
	a.undo = append(a.undo, func() error { return unix.Unmount(at, unix.MNT_DETACH) })
	a.add("bind", at, m.Target, "bind", "nosuid", "nodev", readOnly(m.ReadOnly))
	return nil
}

// aside makes a directory for what a mount needs outside of the private one,
// which may be on a tmpfs.
func (a *attachment) aside() (string, error) {
	dir := filepath.Join(a.r.Settings.StateDir, newID())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	a.undo = append(a.undo, func() error { return os.RemoveAll(dir) })
	return dir, nil
}
