package network

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
)

func TestPoolUsesNamespacesAgain(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pool := NewPool(dir, "", DNS{})
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
	pool := NewPool(dir, "", DNS{})
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
	pool := NewPool(dir, "", DNS{})
	pool.Prepare(3)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	leftovers(t, dir)
}

func TestPoolGivesNoNamespaceWhoseHelperHasDied(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pool := NewPool(dir, "", DNS{})
	pool.Prepare(1)
	kill := func(ns *Namespace) {
		if err := ns.carry.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ns.carry.ended
	}
	first, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Release(first); err != nil {
		t.Fatal(err)
	}
	kill(first) // while it is idle: the next doesn't get it
	second, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second == first || second.Lost() != nil {
		t.Error("a namespace without its helper was given away")
	}
	kill(second) // while it is used: the user is told
	err = pool.Release(second)
	if err == nil || !strings.Contains(err.Error(), second.Helper) || !strings.Contains(err.Error(), "killed") || fault.Remedy(err) == "" {
		t.Errorf("%v (remedy %q)", err, fault.Remedy(err))
	}
	leftovers(t, dir)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}

// A helper's interface is gone a moment before the kernel says that the helper
// is: who finds himself without a network in that moment, and ends, was in a
// namespace that is lost.
func TestPoolKnowsThatAHelperIsDying(t *testing.T) {
	needHost(t)
	pool := NewPool(t.TempDir(), "", DNS{})
	for range 10 {
		ns, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = within(ns.Path, func() error {
			if interfaces, err := net.Interfaces(); err != nil || len(interfaces) != 2 {
				return fmt.Errorf("interfaces %v, %w", interfaces, err)
			}
			if err := ns.carry.cmd.Process.Kill(); err != nil {
				return err
			}
			for {
				interfaces, err := net.Interfaces()
				if err != nil || len(interfaces) < 2 {
					return err
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Release(ns); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("the namespace is given back with %v", err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}
