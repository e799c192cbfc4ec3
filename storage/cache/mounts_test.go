package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func hold(t *testing.T, c *Cache, name string, sharing Sharing) *MountDir {
	t.Helper()
	d, err := c.HoldMount(context.Background(), keyOf(name), name, sharing, func(path string) error { return os.Mkdir(path, 0o755) })
	must(t, err)
	t.Cleanup(d.Release)
	return d
}

// waits reports whether taking a mount has to wait for others.
func waits(t *testing.T, c *Cache, name string, sharing Sharing) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	d, err := c.HoldMount(ctx, keyOf(name), name, sharing, func(path string) error { return os.Mkdir(path, 0o755) })
	if err == nil {
		d.Release()
		return false
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return true
}

func TestCacheMountLastsAndIsShared(t *testing.T) {
	c := newCache(t)
	a := hold(t, c, "a", Shared)
	must(t, os.WriteFile(filepath.Join(a.Path, "f"), nil, 0o600))
	b := hold(t, c, "a", Shared)
	if _, err := os.Stat(filepath.Join(b.Path, "f")); err != nil || a.Path != b.Path {
		t.Errorf("%s and %s: %v", a.Path, b.Path, err)
	}
	if other := hold(t, c, "b", Shared); other.Path == a.Path {
		t.Error("two keys have one directory")
	}
	if !waits(t, c, "a", Locked) {
		t.Error("locked beside others")
	}
	a.Release()
	b.Release()
	l := hold(t, c, "a", Locked)
	if !waits(t, c, "a", Shared) {
		t.Error("shared beside the one that locked it")
	}
	if l.Path != a.Path {
		t.Error("another directory")
	}
}

func TestPrivateCacheMountsDontMeet(t *testing.T) {
	c := newCache(t)
	a, b := hold(t, c, "p", Private), hold(t, c, "p", Private)
	if a.Path == b.Path {
		t.Fatal("they have one directory")
	}
	b.Release()
	if again := hold(t, c, "p", Private); again.Path != b.Path {
		t.Error("one that is free isn't taken again")
	}
}

func TestHalfMadeCacheMountIsNotSeen(t *testing.T) {
	c := newCache(t)
	broken := errors.New("broken")
	_, err := c.HoldMount(context.Background(), keyOf("x"), "x", Shared, func(path string) error {
		must(t, os.Mkdir(path, 0o755))
		must(t, os.WriteFile(filepath.Join(path, "half"), nil, 0o600))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	d := hold(t, c, "x", Shared)
	if names, err := os.ReadDir(d.Path); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestCacheMountInUseIsNotRemoved(t *testing.T) {
	c := newCache(t)
	d := hold(t, c, "a", Shared)
	must(t, os.WriteFile(filepath.Join(d.Path, "f"), nil, 0o600))
	mounts, err := c.Mounts()
	if err != nil || len(mounts) != 1 || mounts[0].ID != "a" || mounts[0].Created.IsZero() || time.Since(mounts[0].Used) > time.Minute {
		t.Fatalf("%+v, %v", mounts, err)
	}
	if c.MountPath(mounts[0]) != d.Path {
		t.Error(c.MountPath(mounts[0]))
	}
	if gone, err := c.RemoveMount(mounts[0]); gone || err != nil {
		t.Fatalf("removed: %t, %v", gone, err)
	}
	d.Release()
	if gone, err := c.RemoveMount(mounts[0]); !gone || err != nil {
		t.Fatalf("removed: %t, %v", gone, err)
	}
	if mounts, err = c.Mounts(); err != nil || len(mounts) > 0 {
		t.Errorf("%+v, %v", mounts, err)
	}
	if names, err := os.ReadDir(hold(t, c, "a", Shared).Path); err != nil || len(names) > 0 {
		t.Errorf("the new one holds %v, %v", names, err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(d.Path)), ".tmp-*"))
	if len(left) > 0 {
		t.Error(strings.Join(left, " "))
	}
}

func TestSharingIsOrdered(t *testing.T) {
	if !Locked.Stronger(Private) || !Private.Stronger(Shared) || Shared.Stronger(Shared) || Shared.Stronger(Locked) {
		t.Error("locked, private, shared")
	}
}
