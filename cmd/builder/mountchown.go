package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

// chownAll gives what is at path, with all below it, to an owner inside, as podman's
// option U does. Links are given, and never followed: other containers may be
// changing what is there.
func chownAll(ctx context.Context, path string, uid, gid uint32) error {
	o := newOwner{ctx, int(uid), int(gid)}
	err := o.giveAll(path)
	switch {
	case errors.Is(err, unix.EINVAL):
		return fault.New("give the user subordinate ids: builder doctor tells how",
			"%s can't belong to %d:%d: this id isn't mapped in the user namespace", path, uid, gid)
	case errors.Is(err, unix.EPERM):
		return fault.New("leave the option U out, or have them given to you before",
			"option U: %s has files that aren't yours to give: %w", path, err)
	}
	return err
}

// newOwner is whom files are given to.
type newOwner struct {
	ctx      context.Context
	uid, gid int
}

func (o newOwner) giveAll(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return os.Chown(path, o.uid, o.gid)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := o.give(dir, "."); err != nil {
		return err
	}
	return o.giveIn(dir)
}

// give gives one name of a directory; what has the owner is left alone.
func (o newOwner) give(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == o.uid && int(st.Gid) == o.gid {
		return nil
	}
	return dir.Lchown(name, o.uid, o.gid)
}

// giveIn gives all that is in a directory. What is removed meanwhile isn't missed.
func (o newOwner) giveIn(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		err := o.give(dir, name)
		if err == nil {
			err = o.giveBelow(dir, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o newOwner) giveBelow(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer below.Close()
	return o.giveIn(below)
}
