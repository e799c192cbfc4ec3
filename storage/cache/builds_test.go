package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestBuildIsReadAsItWasPut(t *testing.T) {
	c := newCache(t)
	if _, err := c.LastBuild(); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	b := &Build{Dockerfile: "/d", Context: "/c", Steps: []BuiltStep{{Stage: "0", Place: -1, Instruction: "FROM <x>", Key: keyOf("k")}}}
	must(t, os.RemoveAll(filepath.Join(c.dir, buildsDir))) // stores of older builders have no such directory
	must(t, c.PutBuild(b))
	other := &Build{Dockerfile: "/d", Context: "/c", Target: "t"}
	must(t, c.PutBuild(other))
	got, err := c.Build(b.ID())
	must(t, err)
	if fmt.Sprint(got.Steps) != fmt.Sprint(b.Steps) {
		t.Errorf("got %+v", got)
	}
	must(t, os.Chtimes(c.path(buildsDir, other.ID()), time.Time{}, time.Now().Add(-time.Minute)))
	must(t, c.TouchBuild(b.ID()))
	if last, err := c.LastBuild(); err != nil || last.Target != "" {
		t.Errorf("%+v, %v", last, err)
	}
	must(t, os.WriteFile(c.path(buildsDir, b.ID()), []byte("{}\n{"), 0o600))
	if _, err := c.Build(b.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("torn: %v", err)
	}
}

func TestOfManyBuildsTheOldestAreForgotten(t *testing.T) {
	c := newCache(t)
	for i := range maxBuilds + 5 {
		b := &Build{Target: fmt.Sprint(i)}
		must(t, c.PutBuild(b))
		at := time.Unix(int64(1_000_000+i), 0)
		must(t, os.Chtimes(c.path(buildsDir, b.ID()), at, at))
	}
	files, err := c.buildFiles()
	must(t, err)
	// The last one was older than none when it was put.
	if len(files) != maxBuilds {
		t.Errorf("%d files", len(files))
	}
	if _, err := c.Build((&Build{Target: "0"}).ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("the oldest: %v", err)
	}
}

func TestBuildsThatNobodyRepeatsAreOld(t *testing.T) {
	c := newCache(t)
	for target, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute} {
		b := &Build{Target: target}
		must(t, c.PutBuild(b))
		must(t, os.Chtimes(c.path(buildsDir, b.ID()), time.Time{}, time.Now().Add(-age)))
	}
	old, err := c.OldBuilds(time.Hour)
	must(t, err)
	if len(old) != 1 || old[0] != c.path(buildsDir, (&Build{Target: "old"}).ID()) {
		t.Errorf("%q", old)
	}
}
