package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/doctor"
)

// layers are the directories of an overlay of one layer.
type layers struct{ lower, upper, work, merged string }

// hello is the file of the layer, old its directory.
const (
	hello = "hello"
	old   = "old"
)

// layersIn makes them in an empty directory.
func layersIn(dir string) (l layers, err error) {
	for _, d := range []struct {
		name string
		path *string
	}{{"lower", &l.lower}, {"upper", &l.upper}, {"work", &l.work}, {"merged", &l.merged}} {
		*d.path = filepath.Join(dir, d.name)
		if err := os.Mkdir(*d.path, 0o700); err != nil {
			return l, err
		}
	}
	if err := os.Mkdir(filepath.Join(l.lower, old), 0o700); err != nil {
		return l, err
	}
	return l, os.WriteFile(filepath.Join(l.lower, hello), []byte(hello), 0o600)
}

func (l layers) options() string {
	return fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", l.lower, l.upper, l.work)
}

// use does with a mounted tree what a RUN may do: it reads, writes, executes, gives
// a file to another user, removes one of the layer's, and makes a directory of the
// layer's anew, for which the tree needs xattrs.
func (l layers) use() error {
	path := filepath.Join(l.merged, hello)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(data) != hello {
		return fmt.Errorf("%s reads %q", path, data)
	}
	if err := giveAway(path); err != nil {
		return fmt.Errorf("giving a file to another id: %w", err)
	}
	if err := execute(l.merged); err != nil {
		return fmt.Errorf("executing a file: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.lower, hello)); err != nil {
		return fmt.Errorf("a removed file is gone from the layer below: %w", err)
	}
	again := filepath.Join(l.merged, old)
	if err := os.Remove(again); err != nil {
		return err
	}
	if err := os.Mkdir(again, 0o700); err != nil {
		return fmt.Errorf("making a directory anew: %w", kernels(err))
	}
	return nil
}

// fuse mounts by fuse-overlayfs, as containers/storage has it done.
func (p probe) fuse(ctx context.Context) Result {
	program, err := doctor.Fuse()
	if err != nil {
		return lacks("fuse-overlayfs", err)
	}
	if err := p.mountFuse(); err != nil {
		return lacks("fuse-overlayfs", doctor.FuseMount(err))
	}
	dir, err := p.dir("fuse")
	if err != nil {
		return lacks("fuse-overlayfs", err)
	}
	l, err := layersIn(dir)
	if err != nil {
		return lacks("fuse-overlayfs", err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "-o", l.options(), l.merged)
	cmd.Stderr, cmd.WaitDelay = &said, time.Second
	err = cmd.Run() // it stays in the background
	defer func() { _ = unix.Unmount(l.merged, unix.MNT_DETACH) }()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return p.needed(lacks("fuse-overlayfs", doctor.FuseProgram(program, doctor.Said(said.Bytes(), err))))
	}
	if err := l.use(); err != nil {
		return lacks("fuse-overlayfs", doctor.FuseProgram(program, err))
	}
	return ok("fuse-overlayfs", "mounted and used by %s", program)
}

// needed has a lack of fuse-overlayfs count as what it comes to where that is taken,
// and mounts nothing: no RUN starts. Nothing stands in for what can be started.
func (p probe) needed(r Result) Result {
	switch p.Driver {
	case "", "fuse", "fuse-overlayfs":
		r.State = Fails
	}
	return r
}

// mountFuse mounts FUSE with nobody to serve it.
func (p probe) mountFuse() error {
	dir, err := p.dir("device")
	if err != nil {
		return err
	}
	return TryFuse(dir)
}

// TryFuse mounts FUSE on dir, with nobody to serve it, and gives the kernel's word.
// It takes a fraction of a millisecond.
func TryFuse(dir string) error {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer device.Close()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())
	if err := unix.Mount("fuse", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return err
	}
	return os.NewSyscallError("umount", unix.Unmount(dir, unix.MNT_DETACH))
}

// overlay mounts by the kernel.
func (p probe) overlay(context.Context) Result {
	dir, err := p.dir("overlay")
	if err != nil {
		return lacks("overlay", err)
	}
	if err := TryOverlay(dir); err != nil {
		return lacks("overlay", doctor.Overlay(err, p.Root))
	}
	return ok("overlay", "mounted and used: --storage-driver overlay would be faster")
}

// TryOverlay has the kernel mount its overlay in an empty directory, uses it, and
// says what of that it refuses.
func TryOverlay(dir string) error {
	l, err := layersIn(dir)
	if err != nil {
		return err
	}
	if err := unix.Mount("overlay", l.merged, "overlay", 0, l.options()+",userxattr"); err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(l.merged, unix.MNT_DETACH) }()
	return l.use()
}
