package cache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oldNames gives the names of what OldMemory does.
func oldNames(t *testing.T, c *Cache, age time.Duration) (names []string) {
	t.Helper()
	paths, err := c.OldMemory(age)
	must(t, err)
	for _, p := range paths {
		rel, err := filepath.Rel(c.dir, p)
		must(t, err)
		names = append(names, rel)
	}
	return names
}

func TestWhatNoBuildUsesIsForgotten(t *testing.T) {
	c := newCache(t)
	for _, name := range []string{"used", "unused"} {
		must(t, c.MarkSeen(keyOf(name)))
		must(t, c.PutAnswer(name, Answer{Digest: keyOf("content")}))
		must(t, c.each(seenDir, makeOld(t)))
		must(t, c.each(answersDir, makeOld(t)))
	}
	if !c.Seen(keyOf("used")) {
		t.Error("not seen")
	}
	if _, ok := c.Answer("used"); !ok {
		t.Error("no answer")
	}
	got := oldNames(t, c, time.Hour)
	want := []string{"answers/" + keyOf("unused").Encoded(), "seen/" + keyOf("unused").Encoded()}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// makeOld sets a file's time to long ago.
func makeOld(t *testing.T) func(path string, _ os.FileInfo) {
	return func(path string, _ os.FileInfo) {
		at := time.Now().Add(-100 * 24 * time.Hour)
		must(t, os.Chtimes(path, at, at))
	}
}

func TestADirectoryThatIsGoneIsForgotten(t *testing.T) {
	c := newCache(t)
	here, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	for _, dir := range []string{here, gone} {
		f, err := c.OpenFiles(dir)
		must(t, err)
		f.Put("a", &unix.Stat_t{Size: 1}, keyOf("a"))
		must(t, f.Save())
	}
	must(t, os.WriteFile(filepath.Join(c.dir, filesDir, "torn"), []byte("builder files 1\n"), 0o600))
	got := oldNames(t, c, time.Hour)
	if len(got) != 2 || slices.Contains(got, filesDir+"/"+keyOf(here).Encoded()) || !slices.Contains(got, filesDir+"/torn") {
		t.Errorf("%q", got)
	}
	// Using it keeps it.
	must(t, c.each(filesDir, makeOld(t)))
	if _, err := c.OpenFiles(here); err != nil {
		t.Fatal(err)
	}
	if got := oldNames(t, c, time.Hour); slices.Contains(got, filesDir+"/"+keyOf(here).Encoded()) {
		t.Errorf("%q", got)
	}
}

func TestTheOldestGoBeyondABound(t *testing.T) {
	c := newCache(t)
	for i, name := range []string{"newest", "newer", "oldest"} {
		path := filepath.Join(c.dir, seenDir, name)
		must(t, os.WriteFile(path, []byte("12345"), 0o600))
		at := time.Now().Add(-time.Duration(i) * time.Minute)
		must(t, os.Chtimes(path, at, at))
	}
	for _, b := range []struct {
		most  int
		bytes int64
	}{{2, -1}, {-1, 11}} {
		paths, err := c.oldest(seenDir, time.Hour, b.most, b.bytes)
		must(t, err)
		if len(paths) != 1 || filepath.Base(paths[0]) != "oldest" {
			t.Errorf("%+v: %q", b, paths)
		}
	}
}
