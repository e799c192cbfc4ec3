package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
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

// old is a time before any test.
var old = unix.Timespec{Sec: 1_000_000_000}

func stat(ino uint64) *unix.Stat_t {
	return &unix.Stat_t{Ino: ino, Size: 7, Mtim: old, Ctim: old, Dev: 3}
}

// reopened saves f and opens it again.
func reopened(t testing.TB, c *Cache, f *Files) *Files {
	t.Helper()
	must(t, f.Save())
	again, err := c.OpenFiles("/context")
	must(t, err)
	return again
}

func openFiles(t testing.TB, c *Cache) *Files {
	t.Helper()
	f, err := c.OpenFiles("/context")
	must(t, err)
	return f
}

func TestDigestHoldsWhileStatDataAreTheSame(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	f.Put("a/b", stat(1), keyOf("content"))
	f = reopened(t, c, f)
	if d, ok := f.Get("a/b", stat(1)); !ok || d != keyOf("content") {
		t.Errorf("got %q, %v", d, ok)
	}
	for name, change := range map[string]func(*unix.Stat_t){
		"size":   func(st *unix.Stat_t) { st.Size++ },
		"mtime":  func(st *unix.Stat_t) { st.Mtim.Nsec++ },
		"ctime":  func(st *unix.Stat_t) { st.Ctim.Nsec++ },
		"inode":  func(st *unix.Stat_t) { st.Ino++ },
		"device": func(st *unix.Stat_t) { st.Dev++ },
	} {
		st := stat(1)
		change(st)
		if _, ok := f.Get("a/b", st); ok {
			t.Errorf("holds with another %s", name)
		}
	}
	if _, ok := f.Get("a", stat(1)); ok {
		t.Error("holds for another file")
	}
	other, err := c.OpenFiles("/another")
	must(t, err)
	if _, ok := other.Get("a/b", stat(1)); ok {
		t.Error("holds in another directory")
	}
}

func TestFileThatMayChangeUnnoticedIsNotRemembered(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	racy := unix.NsecToTimespec(f.opened)
	before := unix.NsecToTimespec(f.opened - 1)
	second, earlier := unix.NsecToTimespec(f.opened), unix.NsecToTimespec(f.opened-1e9)
	second.Nsec, earlier.Nsec = 0, 0
	for name, c := range map[string]struct {
		mtime, ctime unix.Timespec
		want         bool
	}{
		"changed before":                    {before, before, true},
		"written in the tick of opening":    {racy, before, false},
		"attributes changed in that tick":   {before, racy, false},
		"in whole seconds, in that second":  {second, second, false},
		"in whole seconds, old but for one": {earlier, second, false},
		"in whole seconds, earlier":         {earlier, earlier, true},
		"written since, with an old mtime":  {old, unix.NsecToTimespec(f.opened + 1e9), false},
	} {
		st := stat(1)
		st.Mtim, st.Ctim = c.mtime, c.ctime
		f.Put(name, st, keyOf("content"))
		if _, ok := f.Get(name, st); ok != c.want {
			t.Errorf("%s: remembered %v", name, ok)
		}
	}
}

func TestFileWrittenJustBeforeIsRememberedTheNextTime(t *testing.T) {
	c := newCache(t)
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	// The clock's tick is some milliseconds.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		f := openFiles(t, c)
		f.Put("f", &st, keyOf("x"))
		if _, ok := f.Get("f", &st); ok {
			return
		}
	}
	t.Error("never remembered")
}

func TestTornMemoryIsEmpty(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	for i := range 10 {
		f.Put(fmt.Sprint(i), stat(uint64(i)), keyOf("content"))
	}
	must(t, f.Save())
	whole, err := os.ReadFile(f.path)
	must(t, err)
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{
		"empty": {}, "short": whole[:len(whole)-5], "header only": whole[:filesHeader], "changed": flipped,
	} {
		must(t, os.WriteFile(f.path, data, 0o600))
		if n := openFiles(t, c).count(); n != 0 {
			t.Errorf("%s: %d entries", name, n)
		}
	}
	must(t, os.WriteFile(f.path, whole, 0o600))
	if n := openFiles(t, c).count(); n != 10 {
		t.Errorf("whole: %d entries", n)
	}
}

func FuzzDecodeFiles(f *testing.F) {
	f.Add([]byte(filesMagic + "\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var f Files
		f.load(string(data))
		for _, e := range f.saved {
			name := f.nameAt(e.at)
			f.Get(name, stat(1))
		}
		var again Files
		again.load(string(f.encode(true)))
		if again.count() != f.count() {
			t.Errorf("%d entries were written, and %d read again", f.count(), again.count())
		}
	})
}

func TestUnusedEntriesAreKeptWithinBounds(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	for i := range unusedAllowance + 1 {
		f.Put(fmt.Sprint(i), stat(uint64(i)), keyOf("content"))
	}
	f = reopened(t, c, f)
	f.Put("new", stat(1), keyOf("content"))
	f = reopened(t, c, f)
	if n := f.count(); n != 1 {
		t.Errorf("%d entries: those that nobody asked for should be gone", n)
	}
}

func TestUnchangedMemoryIsNotWritten(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	f.Put("a", stat(1), keyOf("content"))
	f = reopened(t, c, f)
	must(t, os.Remove(f.path))
	f.Get("a", stat(1))
	must(t, f.Save())
	if _, err := os.Lstat(f.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written: %v", err)
	}
}

func BenchmarkUnchangedContextOf20000Files(b *testing.B) {
	c := newCache(b)
	f := openFiles(b, c)
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf("src/package%03d/directory/file%05d.go", i/100, i)
		f.Put(names[i], stat(uint64(i)), keyOf("content"))
	}
	must(b, f.Save())
	for b.Loop() {
		f := openFiles(b, c)
		for i, name := range names {
			if _, ok := f.Get(name, stat(uint64(i))); !ok {
				b.Fatal(name)
			}
		}
	}
}
