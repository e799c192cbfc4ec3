package storage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// keptAt is the marker of the container c0ffee's tree, and what that tree is called.
func keptAt(s *Store) (marker, tree string) {
	return filepath.Join(snapshot.KeptDir(s.Dir(snapshotsDir)), "c0ffee"), "mine"
}

// actKeep makes the tree of a container, as a command does before it makes the
// container, and waits to be killed.
func actKeep(root string) error {
	s, err := Open(context.Background(), Options{Root: root, RunDir: root + "-run"})
	if err != nil {
		return err
	}
	session, err := s.Session()
	if err != nil {
		return err
	}
	path, tree := keptAt(s)
	marker, err := json.Marshal(&snapshot.Kept{Owner: filepath.Base(path), Root: fakeRoot, ID: tree, Session: session.ID})
	if err := errors.Join(
		err, session.Making(fakeRoot, tree), os.MkdirAll(treePath(s, tree), 0o700),
		os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, marker, 0o600),
	); err != nil {
		return err
	}
	session.Settled(fakeRoot, tree)
	fmt.Println(session.ID)
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

func TestSweepRemovesTheTreeOfAContainerThatNeverCame(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	marker, tree := keptAt(s)
	cmd, id := start(t, "keep", s.Root())
	sweep := func(inside bool) { t.Helper(); must(t, s.Sweep(ctx, inside)) }

	sweep(true)
	if !exists(marker) || !exists(treePath(s, tree)) {
		t.Fatal("taken from who is about to make the container")
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	sweep(false)
	if !exists(marker) || !exists(treePath(s, tree)) {
		t.Error("outside the namespace trees can't be removed")
	}
	sweep(true)
	if exists(marker) || exists(treePath(s, tree)) || exists(s.Dir("sessions/"+id)) {
		t.Error("still there")
	}
}

func TestSweepLeavesAContainersTree(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	marker, tree := keptAt(s)
	cmd, id := start(t, "keep", s.Root())
	must(t, os.Mkdir(s.Dir("containers/c0ffee"), 0o700))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, s.Sweep(ctx, true))
	if !exists(marker) || !exists(treePath(s, tree)) || exists(s.Dir("sessions/"+id)) {
		t.Error("the tree of a container is gone, or the session isn't")
	}
	// The whole store was looked through just now: that takes what nobody needs.
	must(t, os.Remove(s.Dir("locks/cleaned")))
	must(t, s.Sweep(ctx, true))
	if !exists(treePath(s, tree)) {
		t.Error("the daily look through the store took it")
	}
	must(t, os.Remove(s.Dir("containers/c0ffee")))
	must(t, s.Sweep(ctx, true))
	if exists(marker) || exists(treePath(s, tree)) {
		t.Error("without the container they are still there")
	}
}

func TestSweepFinishesARemovalThatWasCutShort(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	marker, tree := keptAt(s)
	cmd, _ := start(t, "keep", s.Root())
	must(t, os.Mkdir(s.Dir("containers/c0ffee"), 0o700))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	going := filepath.Join(filepath.Dir(marker), ".gone-c0ffee")
	must(t, os.Rename(marker, going))
	must(t, s.Sweep(context.Background(), true))
	if exists(going) || exists(treePath(s, tree)) {
		t.Error("still there")
	}
}

// One of which nothing can be told might be a container's.
func TestWhileAMarkerIsUnreadableNoTreeGoes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	marker, tree := keptAt(s)
	cmd, _ := start(t, "keep", s.Root())
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, os.Truncate(marker, 5))
	must(t, s.Sweep(context.Background(), true))
	if !exists(treePath(s, tree)) {
		t.Error("a tree is gone")
	}
}

func TestResetRefusesWhileAContainerLives(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	s := open(t, root)
	must(t, s.Close())
	must(t, os.Mkdir(s.Dir("containers/c0ffee"), 0o700))
	l, ok, err := lock.TryExclusive(s.Dir("containers/c0ffee/lock"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := Reset(context.Background(), root); fault.Remedy(err) == "" || !exists(filepath.Join(root, "version")) {
		t.Errorf("got %v", err)
	}
	l.Unlock()
	must(t, Reset(context.Background(), root))
}
