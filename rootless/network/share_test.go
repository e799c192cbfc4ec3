package network

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// shared gives the namespace that this process's only program in a network is
// in.
func shared(t *testing.T, dir string) *Namespace {
	t.Helper()
	f, err := OfContainer(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	ns, err := Share(dir, f)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestNetworkOfAContainerIsShared(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		dir := t.TempDir()
		owner := published(t, h)
		if f, err := OfContainer(os.Getpid()); !errors.Is(err, ErrNotRunning) {
			t.Fatalf("before anything runs: %v, %v", f, err)
		}
		program := exec.Command("sleep", "60")
		if err := within(owner.Path, program.Start); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = program.Process.Kill(); _ = program.Wait() }()
		ns := shared(t, dir)
		a, errA := os.Stat(owner.Path)
		b, errB := os.Stat(ns.Path)
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(a, b) {
			t.Error("it is another network namespace")
		}
		if err := errors.Join(within(ns.Path, func() error { return nil }), ns.Lost(), ns.Close()); err != nil {
			t.Error(err)
		}
		leftovers(t, dir)
	})
}

func TestNetworkOfNobody(t *testing.T) {
	if f, err := OfContainer(1 << 30); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v, %v", f, err)
	}
}
