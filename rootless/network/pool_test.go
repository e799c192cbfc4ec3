package network

import (
	"testing"
)

func TestPoolUsesNamespacesAgain(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pool := NewPool(dir, DNS{})
	pool.Prepare(2)
	first, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Path == second.Path {
		t.Error("two users have one namespace")
	}
	if err := pool.Release(first); err != nil {
		t.Fatal(err)
	}
	again, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again != first {
		t.Error("the released namespace isn't used again")
	}
	third, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if third == first || third == second {
		t.Error("a namespace in use was given away")
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	leftovers(t, dir)
}

func TestPoolGivesFreshNamespaceToNoOther(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pool := NewPool(dir, DNS{})
	fresh, err := pool.AcquireFresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Release(fresh); err != nil {
		t.Fatal(err)
	}
	leftovers(t, dir)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pool.Acquire(t.Context()); err == nil {
		t.Error("a closed pool gives namespaces")
	}
}

func TestPoolClosedWhilePreparingLeavesNothing(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pool := NewPool(dir, DNS{})
	pool.Prepare(3)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	leftovers(t, dir)
}
