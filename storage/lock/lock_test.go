package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// holdEnv makes the test binary a process that holds a lock and does nothing
// else, for the tests that kill it.
const holdEnv = "LOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		l, err := Exclusive(context.Background(), path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		l.Unlock()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func shared(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Shared(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Unlock)
	return l
}

func tryExclusive(t *testing.T, path string) (*Lock, bool) {
	t.Helper()
	l, ok, err := TryExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Unlock)
	return l, ok
}

func TestSharedHoldersKeepTheExclusiveOneOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	a, b := shared(t, path), shared(t, path)
	if _, ok := tryExclusive(t, path); ok {
		t.Fatal("exclusive beside two shared holders")
	}
	a.Unlock()
	if _, ok := tryExclusive(t, path); ok {
		t.Fatal("exclusive beside one shared holder")
	}
	b.Unlock()
	if _, ok := tryExclusive(t, path); !ok {
		t.Fatal("not to be had though nobody holds it")
	}
}

func TestUnlockTwiceIsHarmless(t *testing.T) {
	l := shared(t, filepath.Join(t.TempDir(), "l"))
	l.Unlock()
	l.Unlock()
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	if _, ok := tryExclusive(t, path); !ok {
		t.Fatal("not held")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := Exclusive(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline", err)
	}
}

func TestUpgradeWaitsForNobodyAndLeavesTheLockShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	a, b := shared(t, path), shared(t, path)
	if ok, err := a.TryUpgrade(context.Background()); err != nil || ok {
		t.Fatalf("upgrade beside another holder: %v, %v", ok, err)
	}
	b.Unlock()
	if _, ok := tryExclusive(t, path); ok {
		t.Fatal("the refused upgrade lost the shared lock")
	}
	if ok, err := a.TryUpgrade(context.Background()); err != nil || !ok {
		t.Fatalf("upgrade of the only holder: %v, %v", ok, err)
	}
	if err := a.Downgrade(context.Background()); err != nil {
		t.Fatal(err)
	}
	shared(t, path)
}

func TestNamesNoticesThatTheFileWasRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := shared(t, path)
	if !l.Names(path) {
		t.Fatal("the file is there")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if l.Names(path) {
		t.Fatal("the file is gone")
	}
	shared(t, path)
	if l.Names(path) {
		t.Fatal("the name is another file's now")
	}
}

func TestKilledHolderHoldsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"="+path)
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, ok := tryExclusive(t, path); ok {
		t.Fatal("another process holds it")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	if _, ok := tryExclusive(t, path); !ok {
		t.Fatal("a dead process still holds it")
	}
}
