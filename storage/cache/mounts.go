package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
)

// Sharing says what several commands do that want one cache mount at once.
type Sharing string

// The ways of sharing. They are ordered from the weakest to the strongest.
const (
	Shared  Sharing = "shared"  // all write to it
	Private Sharing = "private" // each takes one that nobody else has
	Locked  Sharing = "locked"  // they wait for each other
)

// Stronger reports whether s keeps others out where t doesn't.
func (s Sharing) Stronger(t Sharing) bool {
	order := []Sharing{Shared, Private, Locked}
	return slices.Index(order, s) > slices.Index(order, t)
}

// Names in the directory of a cache mount.
const (
	mountLock = "lock"
	mountInfo = "info"
	mountData = "data"
)

// MountInfo tells of one directory of RUN --mount=type=cache.
type MountInfo struct {
	// ID is what Dockerfiles call it.
	ID string `json:"id"`
	// Created is when it was made.
	Created time.Time `json:"created"`

	// Name is that of its directory, Used when a command last took it.
	Name string    `json:"-"`
	Used time.Time `json:"-"`
}

// MountDir is a cache mount's directory, held until Release: nobody removes it
// meanwhile.
type MountDir struct {
	// Path is the directory, or file, with the content.
	Path string
	lock *lock.Lock
}

// Release lets the directory go, and notes when. Nobody may be using Path any
// more.
func (d *MountDir) Release() {
	noteMountUse(d.Path)
	d.lock.Unlock()
}

// noteMountUse sets the time of the lock beside a cache mount's content. What is
// lost by an error is only that.
func noteMountUse(path string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(filepath.Dir(path), mountLock), now, now)
}

// HoldMount takes the cache mount that key names, waiting for others as sharing
// has it, and makes it where it isn't there: fill is given a path at which
// nothing is yet, and makes the directory. A worker that holds several takes
// them in the order of their keys.
func (c *Cache) HoldMount(ctx context.Context, key Key, id string, sharing Sharing, fill func(path string) error) (*MountDir, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	for n := 0; ; {
		dir := filepath.Join(c.dir, mountsDir, fmt.Sprintf("%s.%d", key.Encoded(), n))
		l, free, err := lockMount(ctx, dir, sharing)
		if err != nil {
			return nil, fmt.Errorf("cache mount %s: %w", id, err)
		}
		if !free {
			n++
			continue
		}
		if l == nil {
			continue // removed meanwhile
		}
		ready, err := readyMount(ctx, l, dir, id, sharing, fill)
		if err != nil {
			l.Unlock()
			return nil, fmt.Errorf("cache mount %s: %w", id, err)
		}
		if ready {
			d := &MountDir{Path: filepath.Join(dir, mountData), lock: l}
			noteMountUse(d.Path)
			return d, nil
		}
		l.Unlock()
	}
}

// lockMount locks a cache mount's directory: exclusively, unless it is shared
// and there is something to share. free is false where a private one is taken,
// and the lock nil where the directory was removed while it was waited for.
func lockMount(ctx context.Context, dir string, sharing Sharing) (l *lock.Lock, free bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, err
	}
	path := filepath.Join(dir, mountLock)
	_, missing := os.Lstat(filepath.Join(dir, mountData))
	switch {
	case sharing == Private:
		l, free, err = tryMount(ctx, path)
	case sharing == Shared && missing == nil:
		l, err = lock.Shared(ctx, path)
		free = true
	default:
		l, err = lock.Exclusive(ctx, path)
		free = true
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil || !free {
		return nil, free, err
	}
	if !l.Names(path) {
		l.Unlock()
		return nil, true, nil
	}
	return l, true, nil
}

// tryMount locks a private cache mount, if nobody has it for longer than it takes
// to see whether it is in use.
func tryMount(ctx context.Context, path string) (l *lock.Lock, free bool, err error) {
	const tries, pause = 4, 2 * time.Millisecond
	for range tries {
		if l, free, err = lock.TryExclusive(path); err != nil || free {
			return l, free, err
		}
		select {
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil, false, nil
}

// readyMount makes the content of a locked directory where there is none. It
// reports false where another process came in between.
func readyMount(ctx context.Context, l *lock.Lock, dir, id string, sharing Sharing, fill func(string) error) (bool, error) {
	data := filepath.Join(dir, mountData)
	if _, err := os.Lstat(data); err == nil {
		return true, nil
	}
	// A process that was killed while it made the content has left this.
	aside := filepath.Join(dir, atomicfile.Prefix+mountData)
	if err := removal.All(aside); err != nil {
		return false, err
	}
	if err := fill(aside); err != nil {
		return false, errors.Join(err, removal.All(aside))
	}
	text, err := json.Marshal(MountInfo{ID: id, Created: time.Now().UTC()})
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(dir, mountInfo), text, 0o600); err != nil {
		return false, err
	}
	if err := os.Rename(aside, data); err != nil || sharing != Shared {
		return err == nil, err
	}
	if err := l.Downgrade(ctx); err != nil {
		return false, err
	}
	// For a moment it wasn't locked at all.
	_, err = os.Lstat(data)
	return err == nil && l.Names(filepath.Join(dir, mountLock)), nil
}

// Mounts lists the cache mounts, in no order.
func (c *Cache) Mounts() ([]MountInfo, error) {
	names, err := os.ReadDir(filepath.Join(c.dir, mountsDir))
	if err != nil {
		return nil, err
	}
	var mounts []MountInfo
	for _, name := range names {
		if strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			continue
		}
		dir := filepath.Join(c.dir, mountsDir, name.Name())
		m := MountInfo{Name: name.Name()}
		if text, err := os.ReadFile(filepath.Join(dir, mountInfo)); err == nil {
			_ = json.Unmarshal(text, &m) // one that says nothing is listed as well
		}
		m.Used = c.MountUsed(m)
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// MountPath is where the content of a cache mount is.
func (c *Cache) MountPath(m MountInfo) string {
	return filepath.Join(c.dir, mountsDir, m.Name, mountData)
}

// MountInUse reports whether a command holds a cache mount. For a moment nobody
// can take it.
func (c *Cache) MountInUse(m MountInfo) bool {
	free, err := lock.Free(filepath.Join(c.dir, mountsDir, m.Name, mountLock))
	return err == nil && !free
}

// MountUsed tells when a command last took or gave back a cache mount.
func (c *Cache) MountUsed(m MountInfo) time.Time {
	st, err := os.Lstat(filepath.Join(c.dir, mountsDir, m.Name, mountLock))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Place gives the digest that names a cache mount, in hexadecimal digits, and the
// number of this directory of it.
func (m MountInfo) Place() (hex string, n int) {
	hex, number, _ := strings.Cut(m.Name, ".")
	n, _ = strconv.Atoi(number) // HoldMount makes no others
	return hex, n
}

// RemoveMount removes a cache mount, or reports false where somebody holds it.
// Its files have the owners that they have inside: this works in the user
// namespace only.
func (c *Cache) RemoveMount(m MountInfo) (bool, error) {
	dir := filepath.Join(c.dir, mountsDir, m.Name)
	if _, err := os.Lstat(dir); err != nil {
		return false, err
	}
	l, held, err := lock.TryExclusive(filepath.Join(dir, mountLock))
	if err != nil || !held {
		return false, err
	}
	defer l.Unlock()
	// The content goes first, so that what is left behind by a process that is
	// killed can be removed by anybody.
	content := filepath.Join(dir, atomicfile.Prefix+mountData)
	if err := removal.All(content); err != nil {
		return false, err
	}
	if err := os.Rename(filepath.Join(dir, mountData), content); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := removal.All(content); err != nil {
		return false, err
	}
	// Who waits for the lock sees that it names nothing any more.
	aside := filepath.Join(c.dir, mountsDir, atomicfile.Prefix+m.Name)
	if err := os.Rename(dir, aside); err != nil {
		return false, err
	}
	return true, removal.All(aside)
}
