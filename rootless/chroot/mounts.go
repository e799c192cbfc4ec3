package chroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// option is what a word among a mount's options means.
type option struct {
	flag      uintptr // of mount(2)
	set       uint64  // attributes of mount_setattr(2), with all below where recursive
	clear     uint64  // attributes that words before it have set
	recursive bool
	propagate uintptr // changes the propagation type
}

// options are the words of mount(8) and of the runtime specification.
var options = map[string]option{
	"bind": {flag: unix.MS_BIND}, "rbind": {flag: unix.MS_BIND | unix.MS_REC},
	"ro": {set: unix.MOUNT_ATTR_RDONLY}, "rw": {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid": {set: unix.MOUNT_ATTR_NOSUID}, "suid": {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev": {set: unix.MOUNT_ATTR_NODEV}, "dev": {clear: unix.MOUNT_ATTR_NODEV},
	"noexec": {set: unix.MOUNT_ATTR_NOEXEC}, "exec": {clear: unix.MOUNT_ATTR_NOEXEC},
	"noatime":    {set: unix.MOUNT_ATTR_NOATIME},
	"relatime":   {clear: unix.MOUNT_ATTR__ATIME},
	"atime":      {clear: unix.MOUNT_ATTR__ATIME},
	"nodiratime": {set: unix.MOUNT_ATTR_NODIRATIME}, "diratime": {clear: unix.MOUNT_ATTR_NODIRATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"rro":         {set: unix.MOUNT_ATTR_RDONLY, recursive: true},
	"rnosuid":     {set: unix.MOUNT_ATTR_NOSUID, recursive: true},
	"rnodev":      {set: unix.MOUNT_ATTR_NODEV, recursive: true},
	"rnoexec":     {set: unix.MOUNT_ATTR_NOEXEC, recursive: true},
	"sync":        {flag: unix.MS_SYNCHRONOUS},
	"async":       {},
	"dirsync":     {flag: unix.MS_DIRSYNC},
	"mand":        {flag: unix.MS_MANDLOCK},
	"defaults":    {},
	"private":     {propagate: unix.MS_PRIVATE},
	"rprivate":    {propagate: unix.MS_PRIVATE | unix.MS_REC},
	"slave":       {propagate: unix.MS_SLAVE},
	"rslave":      {propagate: unix.MS_SLAVE | unix.MS_REC},
	"shared":      {propagate: unix.MS_SHARED},
	"rshared":     {propagate: unix.MS_SHARED | unix.MS_REC},
	"unbindable":  {propagate: unix.MS_UNBINDABLE},
	"runbindable": {propagate: unix.MS_UNBINDABLE | unix.MS_REC},
}

// ownFlags are the attributes by their names as flags of mount(2).
var ownFlags = []struct{ attribute, flag uint64 }{
	{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
	{unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
	{unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
	{unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
	{unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
}

// request is a mount with its options understood.
type request struct {
	flags        uintptr
	set          uint64 // of the mount alone
	setAll       uint64 // of all below, too
	propagations []uintptr
	data         []string
}

func understand(m rspec.Mount) request {
	var r request
	if m.Type == "bind" {
		r.flags = unix.MS_BIND
	}
	for _, word := range m.Options {
		o, known := options[word]
		switch {
		case !known:
			r.data = append(r.data, word)
		case o.recursive:
			r.setAll |= o.set
		case o.propagate != 0:
			r.propagations = append(r.propagations, o.propagate)
		default:
			r.flags |= o.flag
			r.set = r.set&^o.clear | o.set
		}
	}
	return r
}

// mountInto makes a mount below root. Links on the way are followed inside root only.
func mountInto(root string, m rspec.Mount) error {
	r := understand(m)
	if slices.Contains(ownDirs, m.Destination) && r.flags&unix.MS_BIND == 0 {
		if err := ordinary(root, m.Destination); err != nil {
			return err
		}
	}
	isDir := true
	if r.flags&unix.MS_BIND != 0 {
		st, err := os.Stat(m.Source)
		if err != nil {
			return err
		}
		if isDir = st.IsDir(); len(r.data) > 0 {
			return fmt.Errorf("builder's own runtime doesn't know the option %q", r.data[0])
		}
	}
	at, err := openPoint(root, m.Destination, isDir)
	if err != nil {
		return err
	}
	err = r.mount(m, fmt.Sprintf("/proc/self/fd/%d", at.Fd()))
	if err = errors.Join(err, at.Close()); err != nil {
		return err
	}
	return r.finish(root, m.Destination)
}

func (r request) mount(m rspec.Mount, target string) error {
	if r.flags&unix.MS_BIND != 0 {
		return unix.Mount(m.Source, target, "", r.flags, "")
	}
	flags := r.flags
	for _, f := range ownFlags {
		if r.set&f.attribute != 0 {
			flags |= uintptr(f.flag)
		}
	}
	return unix.Mount(m.Source, target, m.Type, flags, strings.Join(r.data, ","))
}

// finish sets what can be set of a mount that is there only.
func (r request) finish(root, destination string) error {
	at, err := openMounted(root, destination)
	if err != nil {
		return err
	}
	defer at.Close()
	target := fmt.Sprintf("/proc/self/fd/%d", at.Fd())
	if r.flags&unix.MS_BIND != 0 && r.set != 0 {
		if err := setAttributes(target, r.set, false); err != nil {
			return err
		}
	}
	if r.setAll != 0 {
		if err := setAttributes(target, r.setAll, true); err != nil {
			return err
		}
	}
	for _, p := range r.propagations {
		if err := unix.Mount("", target, "", p, ""); err != nil {
			return err
		}
	}
	return nil
}

// ownDirs are those in which the sandbox has what it makes itself.
var ownDirs = []string{"/proc", "/sys", "/dev"}

// ordinary complains of a directory of the image's that is something else. What is made
// in it would go to where a link leads, which may be outside the root.
func ordinary(root, path string) error {
	st, err := os.Lstat(filepath.Join(root, path))
	if errors.Is(err, os.ErrNotExist) || err == nil && st.IsDir() {
		return nil
	}
	if err == nil {
		err = errors.New("it is no directory of the image's own")
	}
	return err
}

// setAttributes adds to those of a mount, and of all below it where asked.
func setAttributes(path string, set uint64, recursive bool) error {
	attributes := unix.MountAttr{Attr_set: set}
	if set&unix.MOUNT_ATTR__ATIME != 0 { // which is one of several
		attributes.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	var flags uint
	if recursive {
		flags = unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &attributes)
	if recursive || !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return os.NewSyscallError("mount_setattr", err)
	}
	// Before Linux 5.12, or where a container's filter doesn't know the call: what the
	// mount has already must be named, for some of it can't be taken away.
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	const kept = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME
	remount := uintptr(st.Flags)&kept | unix.MS_BIND | unix.MS_REMOUNT
	for _, f := range ownFlags {
		if set&f.attribute != 0 {
			remount |= uintptr(f.flag)
		}
	}
	return os.NewSyscallError("mount", unix.Mount("", path, "", remount, ""))
}
