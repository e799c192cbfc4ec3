package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func newCache(t testing.TB) *Cache {
	t.Helper()
	c := Open(t.TempDir(), t.TempDir())
	for _, dir := range c.Dirs() {
		must(t, os.MkdirAll(dir, 0o700))
	}
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(s string) Key { return digest.FromString(s) }

func TestStepIsReadAsItWasPut(t *testing.T) {
	c := newCache(t)
	put := &Step{
		Key: keyOf("k"), Parent: keyOf("p"), Version: 1, Kind: "run", Instruction: "RUN echo <h1> && true",
		Created: time.Unix(1, 2).UTC(), Log: "x.log",
	}
	given := []Input{{"env:PATH", "/bin"}, {"file:a\nb", "0644 sha256:12"}, {"", ""}}
	must(t, c.PutStep(put, slices.Values(given)))
	got, err := c.Step(put.Key)
	must(t, err)
	if got.Instruction != put.Instruction || !got.Created.Equal(put.Created) || got.Parent != put.Parent {
		t.Errorf("got %+v", got)
	}
	inputs, err := c.Inputs(put.Key)
	must(t, err)
	if fmt.Sprint(inputs) != fmt.Sprint(given) {
		t.Errorf("inputs: got %q", inputs)
	}
}

func TestStepLongerThanTheReadersBuffer(t *testing.T) {
	c := newCache(t)
	long := strings.Repeat("x", 20_000)
	must(t, c.PutStep(&Step{Key: keyOf("k"), Instruction: long}, slices.Values([]Input{{"a", "b"}})))
	got, err := c.Step(keyOf("k"))
	must(t, err)
	inputs, err := c.Inputs(keyOf("k"))
	must(t, err)
	if got.Instruction != long || len(inputs) != 1 {
		t.Errorf("%d bytes, inputs %q", len(got.Instruction), inputs)
	}
}

func TestTornStepCountsAsNeverMade(t *testing.T) {
	c := newCache(t)
	must(t, c.PutStep(&Step{Key: keyOf("other")}, nil))
	other, err := os.ReadFile(c.StepPath(keyOf("other")))
	must(t, err)
	for _, content := range []string{"", "{", "{}\n", string(other[:len(other)-1]), string(other)} {
		must(t, os.WriteFile(c.StepPath(keyOf("k")), []byte(content), 0o600))
		if _, err := c.Step(keyOf("k")); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := c.Step(keyOf("unknown")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown step: %v", err)
	}
}

func TestSeenAfterMarkSeen(t *testing.T) {
	c := newCache(t)
	if c.Seen(keyOf("d")) || c.Seen("") {
		t.Error("seen before")
	}
	must(t, c.MarkSeen(keyOf("d")))
	must(t, c.MarkSeen(keyOf("d")))
	if !c.Seen(keyOf("d")) {
		t.Error("not seen")
	}
}

func TestStepIsMadeByOneAtATime(t *testing.T) {
	c := newCache(t)
	unlock, err := c.LockStep(context.Background(), keyOf("k"))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.LockStep(ctx, keyOf("k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second one: %v", err)
	}
	another, err := c.LockStep(context.Background(), keyOf("another"))
	must(t, err)
	another()
	unlock()
	unlock, err = c.LockStep(context.Background(), keyOf("k"))
	must(t, err)
	unlock()
}

func TestOldLogsAreThoseOfFailedInstructions(t *testing.T) {
	c := newCache(t)
	old := time.Now().Add(-time.Hour)
	var paths []string
	for _, name := range []string{"made", "failed", "failed just now"} {
		path, w, err := c.LogFile(keyOf(name))
		must(t, err)
		must(t, w.Close())
		paths = append(paths, path)
		if name != "failed just now" {
			must(t, os.Chtimes(path, old, old))
		}
	}
	// The store has been moved since.
	must(t, c.PutStep(&Step{Key: keyOf("k"), Log: "/before" + paths[0]}, nil))
	got, err := c.OldLogs(time.Minute)
	must(t, err)
	if len(got) != 1 || got[0] != paths[1] {
		t.Errorf("got %q", got)
	}
}

func TestSyncTakesEveryRecordThatWasFoundOrMade(t *testing.T) {
	ctx := context.Background()
	killed := newCache(t) // it made records, and synced none
	for _, name := range []string{"found", "gone", "nobody's"} {
		must(t, killed.PutStep(&Step{Key: keyOf(name)}, nil))
		must(t, killed.MarkSeen(keyOf(name)))
	}
	c := Open(killed.dir, killed.locks)
	for _, name := range []string{"found", "gone"} {
		_, err := c.Step(keyOf(name))
		if err != nil || !c.Seen(keyOf(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.Remove(c.StepPath(keyOf("gone"))))
	must(t, c.PutStep(&Step{Key: keyOf("made"), Kind: "image"}, nil))
	must(t, c.MarkSeen(keyOf("made")))
	must(t, c.Sync(ctx))
	for name, synced := range map[string]bool{"found": true, "made": true, "nobody's": false} {
		for _, path := range []string{c.StepPath(keyOf(name)), c.path(seenDir, keyOf(name))} {
			st, err := os.Lstat(path)
			must(t, err)
			if (st.Mode().Perm() == 0o400) != synced {
				t.Errorf("%s: %v", name, st.Mode())
			}
		}
	}
	must(t, c.MarkSeen(keyOf("made")))
	must(t, c.PutStep(&Step{Key: keyOf("made"), Kind: "again"}, nil))
	must(t, c.Sync(ctx))
}
