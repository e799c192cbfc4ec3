package chroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/removal"
)

// Without mounts (plain) what the sandbox shows is put into the tree itself, and what
// it hides is moved aside, beside the tree. The keeper does it before the program
// starts and undoes it when nothing runs any more; the times of the directories around
// are what the program has made of them. So the layer is the same as with mounts.
//
// Nothing of this holds a program back that is root: it may leave a chroot. It sees the
// machine's processes by their numbers, no /proc but a few of its files, no terminals
// but its own, and no limit on what it writes to /dev/shm.

// MoveOption among a mount's options says that its source may be moved into the tree:
// nobody misses it if the program is killed.
const MoveOption = "x-builder-move"

// OwnOption says that a file is the sandbox's own, such as /etc/resolv.conf: what the
// program writes to it is to be lost.
const OwnOption = "x-builder-own"

// plainRoot changes the root, and no more.
func plainRoot(root string) error {
	if err := unix.Chroot(root); err != nil {
		return fault.New("give builder CAP_SYS_CHROOT (a pod: securityContext.capabilities.add: [SYS_CHROOT])", "chroot: %w", err)
	}
	return pathError("chdir", "/", unix.Chdir("/"))
}

// stage is a tree that is being made ready.
type stage struct {
	root  string
	aside string // where what is hidden lies, on the same file system
	undo  []func() error
}

// preparePlain puts everything into the tree. undo is to be called also after an error.
func (in *invocation) preparePlain() (undo func() error, err error) {
	root := filepath.Clean(in.spec.Root.Path)
	s := &stage{root: root, aside: root + removal.AsideSuffix}
	undo = func() error {
		var errs []error
		for _, one := range slices.Backward(s.undo) {
			errs = append(errs, one())
		}
		return errors.Join(append(errs, removeIfThere(s.aside))...)
	}
	if err := os.Mkdir(s.aside, 0o700); err != nil {
		return undo, err
	}
	for _, dir := range []struct {
		path string
		fill func(string) error
	}{{"/proc", fillProc}, {"/sys", nil}, {"/dev", fillPlainDev}} {
		if err := ordinary(root, dir.path); err != nil {
			return undo, fmt.Errorf("showing %s: %w", dir.path, err)
		}
		if err := s.directory(dir.path, 0o755, dir.fill); err != nil {
			return undo, err
		}
	}
	for _, m := range in.spec.Mounts {
		if err := s.show(m); err != nil {
			return undo, fmt.Errorf("showing %s: %w", m.Destination, err)
		}
	}
	return undo, nil
}

func removeIfThere(dir string) error {
	if err := os.Remove(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// show does what can be done in a mount's place.
func (s *stage) show(m rspec.Mount) error {
	if m.Type == "tmpfs" {
		return s.directory(m.Destination, 0o777|os.ModeSticky, nil)
	}
	st, err := os.Stat(m.Source)
	switch {
	case err != nil:
		return err
	case st.Mode()&os.ModeDevice != 0:
		return s.device(m)
	case st.Mode()&os.ModeSocket != 0:
		return s.socket(m, st)
	case slices.Contains(m.Options, MoveOption):
		return s.move(m)
	case st.Mode().IsRegular():
		return s.copy(m, st)
	}
	return fault.New("see docs/isolation.md for what chroot isolation can't do without a mount namespace",
		"a directory can't be shown in a container without a mount namespace")
}

// point is a name in a directory of the tree, which the program can't lead astray.
type point struct {
	dir  *os.File
	name string
}

// at resolves a path inside the tree.
func (s *stage) at(path string) (point, error) {
	where, err := securejoin.SecureJoin(s.root, path)
	if err != nil {
		return point{}, err
	}
	if where == s.root {
		return point{}, fmt.Errorf("%s is the root directory itself", path)
	}
	if err := os.MkdirAll(filepath.Dir(where), 0o755); err != nil {
		return point{}, err
	}
	dir, err := os.Open(filepath.Dir(where))
	return point{dir, filepath.Base(where)}, err
}

// path is the point's as this process reaches it.
func (p point) path() string { return fmt.Sprintf("/proc/self/fd/%d/%s", p.dir.Fd(), p.name) }

// keepTime does something in the directory, which keeps its time.
func (p point) keepTime(do func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(p.dir.Fd()), &st); err != nil {
		return err
	}
	err := do()
	times := []unix.Timespec{st.Atim, st.Mtim}
	return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", p.dir.Fd()), times, 0))
}

// replace moves aside what is at a path, and has put make something else there. away
// takes that away again; nil stands for its removal.
func (s *stage) replace(path string, put, away func(at string) error) error {
	p, err := s.at(path)
	if err != nil {
		return err
	}
	if away == nil {
		away = os.RemoveAll
	}
	old := filepath.Join(s.aside, fmt.Sprint(len(s.undo)))
	was := false
	s.undo = append(s.undo, func() error {
		defer p.dir.Close()
		return p.keepTime(func() error {
			err := away(p.path())
			if !was {
				return err
			}
			restored := os.Rename(old, p.path())
			if errors.Is(restored, os.ErrNotExist) && gone(p.dir) {
				restored = os.RemoveAll(old) // the program has removed the directory
			}
			return errors.Join(err, restored)
		})
	})
	return p.keepTime(func() error {
		err := os.Rename(p.path(), old)
		if was = err == nil; !was && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return put(p.path())
	})
}

// gone tells whether a directory has been removed.
func gone(dir *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(dir.Fd()), &st) == nil && st.Nlink == 0
}

// directory shows a new directory.
func (s *stage) directory(path string, mode os.FileMode, fill func(string) error) error {
	return s.replace(path, func(at string) error {
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(at, mode); err != nil || fill == nil {
			return err
		}
		return fill(at)
	}, nil)
}

// move shows what may be moved here. That it was only to be read can't be enforced, but
// found out.
func (s *stage) move(m rspec.Mount) error {
	var moved unix.Stat_t
	return s.replace(m.Destination,
		func(at string) error {
			if err := os.Rename(m.Source, at); err != nil {
				return err
			}
			return pathError("lstat", at, unix.Lstat(at, &moved))
		},
		func(at string) error {
			var now unix.Stat_t
			if err := unix.Lstat(at, &now); err != nil || (now.Mode^moved.Mode)&unix.S_IFMT != 0 {
				// A link in its place would lead whoever mounts the source next.
				return errors.Join(fault.New("remove what is in it, and leave it itself",
					"the command has removed or replaced %s, where something is mounted", m.Destination), os.RemoveAll(at))
			}
			err := error(nil)
			if slices.Contains(m.Options, "ro") && changedSince(at, time.Unix(moved.Ctim.Unix())) {
				err = fault.New("mount it with rw, or write elsewhere",
					"the command has written to %s, which is mounted read-only", m.Destination)
			}
			return errors.Join(err, os.Rename(at, m.Source))
		})
}

// changeTime is when a file was changed last in any respect.
func changeTime(path string) (time.Time, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return time.Time{}, pathError("lstat", path, err)
	}
	return time.Unix(st.Ctim.Unix()), nil
}

// changedSince tells whether anything at a path or below it was changed later.
func changedSince(path string, when time.Time) bool {
	err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		changed, err := changeTime(name)
		if err == nil && changed.After(when) {
			err = fs.ErrExist
		}
		return err
	})
	return err != nil
}

// copy shows a copy of a file. What the program does to it is lost, which only who
// may not write to it doesn't notice.
func (s *stage) copy(m rspec.Mount, st os.FileInfo) error {
	if !slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, OwnOption) {
		return fault.New("mount it read-only (:ro)", "a file can't be shared with a container without a mount namespace")
	}
	data, err := os.ReadFile(m.Source)
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t)
	return s.replace(m.Destination, func(at string) error {
		if err := os.WriteFile(at, data, 0o600); err != nil {
			return err
		}
		if err := os.Lchown(at, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
		return os.Chmod(at, st.Mode())
	}, nil)
}
