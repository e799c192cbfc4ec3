// Package cgroup holds programs to limits of memory, processors and processes, as far as
// a cgroup (version 2) is delegated to the user: one that is the user's, has the
// controllers, and no process but builder's own in it.
//
// The process that the user started calls [Claim], which makes room in the
// cgroup for others: the kernel limits no group beside processes. The one inside
// the user namespace calls [Open] and makes a [Group] for each program. What a
// killed builder leaves there, empty groups, the next one's Claim removes.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
)

const (
	// leaf is the group that builder itself is in, below the one delegated.
	leaf = "builder"
	// prefix begins the names of programs' groups beside it.
	prefix = "builder-run-"
)

// Claim makes room for groups with these limits in the cgroup of this process,
// or else tells what is missing. Where that cgroup isn't the user's own, the process
// moves to one that the user's systemd makes for it. release undoes what was done to
// the cgroup, and is called when no program runs any more. No limits need none.
//
// Whoever leaves a program behind and claims again, for another one, gets another
// scope of systemd's for that: each ends by itself.
func Claim(ctx context.Context, l Limits) (release func(), err error) {
	if l != (Limits{}) && l.Parent == "" && inOwnScope() {
		_ = enterScope(ctx) // without it both are in the one
	}
	release, err = claim(l)
	if !errors.Is(err, errNotDelegated) || l.Parent != "" {
		return release, err
	}
	if failed := enterScope(ctx); failed != nil {
		if !errors.Is(failed, errNoSystemd) {
			err = &fault.Error{Err: err, Remedy: fault.Remedy(err), Detail: []string{failed.Error()}}
		}
		return release, err
	}
	return claim(l)
}

// claim is Claim in the cgroup that this process is in.
func claim(l Limits) (release func(), err error) {
	release = func() {}
	if l == (Limits{}) {
		return release, nil
	}
	if err := checkOld(l.controllers()); err != nil {
		return release, err
	}
	own, err := base(l)
	if err != nil {
		return release, err
	}
	if err := own.check(l.controllers()); err != nil {
		return release, err
	}
	own.sweep()
	if l.Parent != "" || own.claimed {
		return release, own.enable(l.controllers())
	}
	if !own.isAlone() {
		return release, own.notDelegated("other programs than builder are in it")
	}
	if err := own.settle(l.controllers()); err != nil {
		own.leave()
		return release, own.notDelegated(err.Error())
	}
	return own.leave, nil
}

// place is a cgroup.
type place struct {
	dir  string // in the file system
	path string // in the hierarchy
	root string // where the hierarchy is mounted
	// claimed says that a builder, this one or its parent, is in its leaf.
	claimed bool
}

// base is the cgroup in which programs' groups are to be: the one that is named,
// else that of this process.
func base(l Limits) (place, error) {
	at, root, err := find()
	if err != nil {
		return place{}, err
	}
	if l.Parent != "" {
		named := place{dir: filepath.Join(root, l.Parent), path: filepath.Join("/", l.Parent), root: root}
		if _, err := os.Stat(named.dir); err != nil {
			return named, fault.New("name one that is below "+root, "--cgroup-parent %s: there is no such cgroup: %w", l.Parent, err)
		}
		return named, nil
	}
	if filepath.Base(at.path) == leaf {
		return place{dir: filepath.Dir(at.dir), path: filepath.Dir(at.path), root: root, claimed: true}, nil
	}
	return at, nil
}

// check tells which of the controllers can't be had in the cgroup.
func (p place) check(controllers []string) error {
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := unix.Faccessat(unix.AT_FDCWD, filepath.Join(p.dir, name), unix.W_OK, unix.AT_EACCESS); err != nil {
			return p.notDelegated("it is not the user's")
		}
	}
	have := p.words("cgroup.controllers")
	for _, name := range controllers {
		if !slices.Contains(have, name) {
			return p.lacks(name)
		}
	}
	return nil
}

// isAlone tells whether this process is the only one in the cgroup.
func (p place) isAlone() bool {
	return slices.Equal(p.words("cgroup.procs"), []string{fmt.Sprint(os.Getpid())})
}

// settle moves this process into the leaf, and lets the controllers count for
// the groups beside it.
func (p place) settle(controllers []string) error {
	if err := os.Mkdir(filepath.Join(p.dir, leaf), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := p.write(leaf+"/cgroup.procs", "0"); err != nil {
		return err
	}
	return p.enable(controllers)
}

func (p place) enable(controllers []string) error {
	on := p.words("cgroup.subtree_control")
	for _, name := range controllers {
		if slices.Contains(on, name) {
			continue
		}
		if err := p.write("cgroup.subtree_control", "+"+name); err != nil {
			return fault.Machine(ownScope, "the controller %s of the cgroup %s can't be used: %w", name, p.path, err)
		}
	}
	return nil
}

// leave undoes settle, unless another builder is still there, whose programs would
// lose their limits by it.
func (p place) leave() {
	p.sweep()
	if p.isUsed() {
		return
	}
	for _, name := range p.words("cgroup.subtree_control") {
		_ = p.write("cgroup.subtree_control", "-"+name)
	}
	_ = p.write("cgroup.procs", "0")
	_ = os.Remove(filepath.Join(p.dir, leaf))
}

// isUsed tells whether another process than this one is in the leaf, or a program's
// group beside it.
func (p place) isUsed() bool {
	groups, _ := filepath.Glob(filepath.Join(p.dir, prefix+"*"))
	others := slices.DeleteFunc(p.words(leaf+"/cgroup.procs"), func(pid string) bool { return pid == fmt.Sprint(os.Getpid()) })
	return len(groups) > 0 || len(others) > 0
}

// sweep removes the groups of builders that were killed: nobody holds their
// locks, and their programs died with them.
func (p place) sweep() {
	dirs, _ := filepath.Glob(filepath.Join(p.dir, prefix+"*"))
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = remove(dir)
		}
		_ = f.Close()
	}
}

// remove removes a group and those that a runtime has made in it. Those that
// still hold a process stay.
func remove(dir string) error {
	below, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, file := range below {
		_ = remove(filepath.Dir(file))
	}
	return os.Remove(dir)
}

// words gives the words of one of the cgroup's files.
func (p place) words(name string) []string {
	data, _ := os.ReadFile(filepath.Join(p.dir, name))
	return strings.Fields(string(data))
}

func (p place) write(name, value string) error {
	return writeFile(filepath.Join(p.dir, name), value)
}

// writeFile writes to a file of the kernel's, which has to be there.
func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Delegated is a cgroup in which programs' groups can be made. It stays good when
// the hierarchy is hidden from the file system.
type Delegated struct {
	at   place
	root *os.File
}

// Open finds, inside the user namespace, what Claim has prepared outside.
func Open(l Limits) (*Delegated, error) {
	at, err := base(l)
	if err != nil {
		return nil, err
	}
	root, err := os.Open(at.dir)
	if err != nil {
		return nil, err
	}
	at.dir = fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	return &Delegated{at, root}, nil
}

// Group is the cgroup of one program.
type Group struct {
	dir  *os.File
	path string
}

// New makes the group of a program, with its limits.
func (d *Delegated) New(id string, l Limits) (_ *Group, err error) {
	name := prefix + id
	dir := filepath.Join(d.at.dir, name)
	g := &Group{path: filepath.Join(d.at.path, name)}
	if g.dir, err = makeLocked(dir); err != nil {
		return nil, d.at.notDelegated(err.Error())
	}
	defer func() {
		if err != nil {
			g.Remove()
		}
	}()
	for _, s := range l.settings() {
		err := writeFile(filepath.Join(dir, s.file), s.value)
		if err == nil || s.optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		return nil, fault.New("https://docs.kernel.org/admin-guide/cgroup-v2.html    # tells what "+s.file+" takes",
			"the limit %s can't be set to %q: %w", s.file, s.value, err)
	}
	return g, nil
}

// makeLocked makes a group's directory. Between making and locking it another
// builder may have taken it for a leftover.
func makeLocked(dir string) (*os.File, error) {
	for {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if _, err := os.Stat(dir); err == nil {
			return f, nil
		}
		_ = f.Close()
	}
}

// Dir is the group's directory, open: processes are started in it by its
// descriptor.
func (g *Group) Dir() *os.File { return g.dir }

// Path is where the group is in the hierarchy.
func (g *Group) Path() string { return g.path }

// Freeze stops all that is in the group, or lets it go on, and returns when that is
// so.
func (g *Group) Freeze(frozen bool) error {
	value := "0"
	if frozen {
		value = "1"
	}
	if err := writeFile(filepath.Join(g.dir.Name(), "cgroup.freeze"), value); err != nil {
		return fault.New("", "the cgroup %s can't be frozen: %w", g.path, err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pause) {
		events, err := os.ReadFile(filepath.Join(g.dir.Name(), "cgroup.events"))
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(string(events), "\n"), "frozen "+value) {
			return nil
		}
	}
	return fault.New("", "the cgroup %s isn't frozen after %v: a process in it waits for a device", g.path, patience)
}

// patience is how long the kernel may take to end or to stop what is in a group,
// pause lies between two looks.
const patience, pause = 2 * time.Second, 2 * time.Millisecond

// Remove ends what is still in the group, and removes it.
func (g *Group) Remove() {
	_ = writeFile(filepath.Join(g.dir.Name(), "cgroup.kill"), "1")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pause) {
		if err := remove(g.dir.Name()); err == nil || errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	_ = g.dir.Close()
}
