package lease_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/lease"
	"github.com/builder-oci/builder/storage/lock"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin makes a session that lives until the function is called.
func begin(t *testing.T, dir, id string) (*lease.Book, func()) {
	t.Helper()
	l, err := lock.Exclusive(context.Background(), filepath.Join(dir, id))
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, id+".d"), 0o700))
	book, err := lease.Open(filepath.Join(dir, id+".d"), filepath.Join(dir, "..", "leases"))
	must(t, err)
	t.Cleanup(func() { must(t, book.Close()); l.Unlock() })
	return book, l.Unlock
}

func TestLeasesAreTheLivingSessions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions")
	must(t, os.Mkdir(dir, 0o700))
	a, b := digest.FromString("a"), digest.FromString("b")
	first, _ := begin(t, dir, "first")
	second, die := begin(t, dir, "second")
	_, _ = begin(t, dir, "own")
	ctx := context.Background()
	must(t, first.Add(ctx, a, "", a))
	must(t, first.Add(ctx, a))
	must(t, second.Add(ctx, b))
	uses := func() []digest.Digest {
		found := map[digest.Digest]bool{}
		dirs, err := lease.Live(dir, "own")
		must(t, err)
		for _, d := range dirs {
			must(t, lease.Read(d, found))
		}
		return slices.Sorted(maps.Keys(found))
	}
	if got := uses(); len(got) != 2 {
		t.Errorf("%q", got)
	}
	die()
	if got := uses(); !slices.Equal(got, []digest.Digest{a}) {
		t.Errorf("after one has died: %q", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "first.d", "uses"))
	must(t, err)
	if string(text) != a.String()+"\n" {
		t.Errorf("%q", text)
	}
}

func TestALeaseWaitsForWhoPrunes(t *testing.T) {
	dir := t.TempDir()
	sessions := filepath.Join(dir, "sessions")
	must(t, os.Mkdir(sessions, 0o700))
	book, _ := begin(t, sessions, "one")
	prune, err := lock.Exclusive(context.Background(), filepath.Join(dir, "leases"))
	must(t, err)
	done := make(chan error)
	go func() { done <- book.Add(context.Background(), digest.FromString("a")) }()
	if text, _ := os.ReadFile(filepath.Join(sessions, "one.d", "uses")); len(text) > 0 {
		t.Error("leased while somebody prunes")
	}
	prune.Unlock()
	must(t, <-done)
}
