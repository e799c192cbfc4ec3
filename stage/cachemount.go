package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
)

// CacheMount is type=cache: a directory that lasts from build to build, and that
// builds which name it alike have in common.
type CacheMount struct {
	Target string `json:"target"`
	ID     string `json:"id"`
	// Sharing is cache.Shared where it is "".
	Sharing cache.Sharing `json:"sharing,omitempty"`
	// From is what the directory holds at first, nil for nothing. A directory
	// that began otherwise is another one.
	From Source `json:"-"`
	// Source is the path in From; without From, the directory inside that is
	// mounted.
	Source   string `json:"source,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Owner is whom a new directory belongs to, and what its mode is.
	Owner Owner `json:"owner,omitzero"`
}

// Owner is what uid=, gid= and mode= say of a mount's file or directory. A nil
// member wasn't given.
type Owner struct {
	UID  *uint32 `json:"uid,omitempty"`
	GID  *uint32 `json:"gid,omitempty"`
	Mode *uint32 `json:"mode,omitempty"` // permission bits
}

// given says whether any of them is.
func (o Owner) given() bool { return o.UID != nil || o.GID != nil || o.Mode != nil }

// ids and mode give what is to be, root's where nothing was given.
func (o Owner) ids() (uid, gid uint32) { return value(o.UID, 0), value(o.GID, 0) }

func (o Owner) mode(otherwise uint32) fs.FileMode {
	m := value(o.Mode, otherwise)
	mode := fs.FileMode(m & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

func (o Owner) String() string {
	text := func(v *uint32, format string) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf(format, *v)
	}
	return text(o.UID, "%d") + ":" + text(o.GID, "%d") + " " + text(o.Mode, "%04o")
}

func value(v *uint32, otherwise uint32) uint32 {
	if v == nil {
		return otherwise
	}
	return *v
}

func (m CacheMount) declaration() string {
	return fmt.Sprintf("cache target=%q id=%q sharing=%s source=%q %s %s",
		m.Target, m.ID, m.sharing(), m.Source, m.Owner, readOnly(m.ReadOnly))
}

func (m CacheMount) target() string { return m.Target }

func (m CacheMount) reads() (Source, string) { return m.From, m.Source }

func (m CacheMount) sharing() cache.Sharing {
	if m.Sharing == "" {
		return cache.Shared
	}
	return m.Sharing
}

// held is how the directory is shared on this machine: where it has to be moved, it
// can't be in two places.
func (m CacheMount) held() cache.Sharing {
	if sharing := m.sharing(); sharing != cache.Shared || sandbox.MayMount() == nil {
		return sharing
	}
	return cache.Locked
}

// key names the directory. Files made in one id mapping are of no use in
// another.
func (m CacheMount) key(r *Runner, s *shown) digest.Digest {
	inputs := []cache.Input{{Name: "id", Value: m.ID}, {Name: "mapping", Value: r.Snapshots.Mapping()}}
	if s != nil {
		inputs = append(inputs, cache.Input{Name: "from", Value: s.content.String()})
	}
	if m.Owner.given() && (m.Source == "" || s != nil) {
		inputs = append(inputs, cache.Input{Name: "owner", Value: m.Owner.String()})
	}
	return keyOf("cache mount", inputs)
}

// hold takes the directories of all cache mounts, each once, in the order of
// their keys, so that no two builds wait for each other.
func (a *attachment) hold(ctx context.Context, mounts []Mount, shows []*shown) error {
	type wanted struct {
		CacheMount
		shown *shown
		key   digest.Digest
	}
	var all []wanted
	for i, m := range mounts {
		c, ok := m.(CacheMount)
		if !ok {
			continue
		}
		w := wanted{c, shows[i], c.key(a.r, shows[i])}
		at := slices.IndexFunc(all, func(other wanted) bool { return other.key == w.key })
		if at < 0 {
			all = append(all, w)
		} else if w.held().Stronger(all[at].held()) {
			all[at] = w
		}
	}
	slices.SortFunc(all, func(x, y wanted) int { return cmp.Compare(x.key, y.key) })
	for _, w := range all {
		dir, err := a.r.Cache.HoldMount(ctx, w.key, w.ID, w.held(), func(path string) error { return w.fill(ctx, a, w.shown, path) })
		if err != nil {
			return err
		}
		a.undo = append(a.undo, func() error { dir.Release(); return nil })
		a.held[w.key] = dir.Path
	}
	return nil
}

// fill makes the directory as it is at first: empty, too, where what it should
// begin with can't be had any more.
func (m CacheMount) fill(ctx context.Context, a *attachment, s *shown, path string) error {
	if s == nil || s.files == nil {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		return m.setOwner(a, path, 0o755)
	}
	dir, name := filepath.Split(path)
	owners := layer.NewOwners(dir)
	defer owners.Close()
	w := layer.NewDirWriter(dir, layer.NewTree(nil), layer.DirOptions{Flavor: layer.VFS, ExactOwners: a.r.ExactOwners, Owners: owners, Temp: dir})
	if err := errors.Join(writeBelow(ctx, w, name, s.files, s.match.Path), w.Close()); err != nil {
		return err
	}
	if !m.Owner.given() {
		return nil
	}
	return m.setOwner(a, path, 0o755)
}

func (m CacheMount) setOwner(a *attachment, path string, mode uint32) error {
	if m.Source != "" && m.From == nil {
		return os.Chmod(path, fs.FileMode(mode))
	}
	uid, gid := m.Owner.ids()
	if err := a.own(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, m.Owner.mode(mode))
}

func (m CacheMount) attach(_ context.Context, a *attachment, s *shown) error {
	path := a.held[m.key(a.r, s)]
	if sub := strings.Trim(filepath.Clean("/"+m.Source), "/"); sub != "" && m.From == nil {
		var err error
		if path, err = a.inside(path, sub); err != nil {
			return fmt.Errorf("cache mount %s: source %s: %w", m.ID, m.Source, err)
		}
	}
	a.move(path, m.Target, "rbind", "nosuid", "nodev", readOnly(m.ReadOnly))
	return nil
}

// inside gives a path at which a directory below dir is mounted, and makes it
// where it is missing. Commands of other builds may be changing dir: no link is
// followed out of it, and none is met again when the path is used.
func (a *attachment) inside(dir, sub string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := root.MkdirAll(sub, 0o755); err != nil {
		return "", err
	}
	f, err := root.Open(sub)
	if err != nil {
		return "", err
	}
	defer f.Close()
	at, err := a.aside()
	if err != nil {
		return "", err
	}
	err = unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), at, "", unix.MS_BIND, "")
	if mountless(err) {
		return filepath.Join(dir, sub), nil // nobody else has the directory meanwhile
	}
	if err != nil {
		return "", err
	}
	a.undo = append(a.undo, func() error { return unix.Unmount(at, unix.MNT_DETACH) })
	return at, nil
}
