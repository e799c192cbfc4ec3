package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func failure(name, target string, minute int) *Failure {
	return &Failure{
		Key: keyOf(name), Before: keyOf("below"), Dockerfile: "/d", Context: "/c", Target: target,
		Failed: time.Unix(int64(60*minute), 0).UTC(), Run: []byte(`{"spec":{}}`),
	}
}

func put(t *testing.T, c *Cache, f *Failure) int {
	t.Helper()
	forgotten, err := c.PutFailure(f)
	must(t, err)
	return forgotten
}

func targets(t *testing.T, c *Cache) (names string) {
	t.Helper()
	all, err := c.Failures()
	must(t, err)
	for _, f := range all {
		names += f.Target
	}
	return names
}

func TestOfFailuresTheNewestAreKept(t *testing.T) {
	c := newCache(t)
	must(t, os.RemoveAll(filepath.Join(c.dir, failedDir))) // stores of older builders have no such directory
	if got := targets(t, c); got != "" {
		t.Errorf("at first: %s", got)
	}
	for n := range MaxFailures {
		if forgotten := put(t, c, failure(fmt.Sprint(n), fmt.Sprint(n), n)); forgotten != 0 {
			t.Errorf("%d forgotten", forgotten)
		}
	}
	if forgotten := put(t, c, failure("x", "x", 100)); forgotten != 1 {
		t.Errorf("%d forgotten", forgotten)
	}
	if got := targets(t, c); got != "x4321" {
		t.Error(got)
	}
	f, err := c.Failure(keyOf("x"))
	must(t, err)
	if fmt.Sprint(f) != fmt.Sprint(failure("x", "x", 100)) {
		t.Errorf("read as %+v", f)
	}
}

func TestFailuresOfABuildAreForgottenTogether(t *testing.T) {
	c := newCache(t)
	put(t, c, failure("one", "a", 1))
	put(t, c, failure("two", "b", 2))
	put(t, c, failure("three", "a", 3))
	n, err := c.ForgetFailures((&Build{Dockerfile: "/d", Context: "/c", Target: "a"}).ID())
	must(t, err)
	if got := targets(t, c); n != 2 || got != "b" {
		t.Errorf("%d, %s left", n, got)
	}
}

func TestATornFailureCountsAsNeverKept(t *testing.T) {
	c := newCache(t)
	put(t, c, failure("one", "a", 1))
	must(t, os.WriteFile(c.FailurePath(keyOf("one")), []byte("{"), 0o600))
	if _, err := c.Failure(keyOf("one")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := targets(t, c); got != "" {
		t.Error(got)
	}
	keys, err := c.FailureKeys()
	must(t, err)
	if len(keys) != 1 {
		t.Errorf("%d keys", len(keys))
	}
}
