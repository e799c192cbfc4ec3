package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/pathorder"
)

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

// manyNames are paths in the order of a walk.
func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("src/package%04d/directory/file%07d.go", i/100, i)
	}
	return names
}

// filled has remembered names, with the place of each as its inode, and was
// saved and opened again.
func filled(t testing.TB, c *Cache, names []string) *Files {
	t.Helper()
	f := openFiles(t, c)
	for i, name := range names {
		f.Put(name, stat(uint64(i)), keyOf("content"))
	}
	again := reopened(t, c, f)
	must(t, f.Close())
	return again
}

// holding counts the names of which a digest is known, each with its place as the
// inode.
func holding(f *Files, names []string) (n int) {
	for i, name := range names {
		if _, ok := f.Get(name, stat(uint64(i))); ok {
			n++
		}
	}
	return n
}

// TestManyFilesInAnyOrder has several levels of tables, and entries that are
// replaced in all of them.
func TestManyFilesInAnyOrder(t *testing.T) {
	c := newCache(t)
	names := manyNames(freshInMemory*runsOfALevel + 3*freshInMemory/2)
	filled(t, c, names[:20_000]) // as another inode
	f := openFiles(t, c)
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(names))
	inode := func(i int) *unix.Stat_t { return stat(uint64(i + len(names))) }
	// They are replaced when others have gone to the disk since, or been merged.
	for _, at := range []int{0, 5 * freshInMemory, runsOfALevel * freshInMemory} {
		for _, i := range order[at : at+1000] {
			f.Put(names[i], stat(7), keyOf("old"))
		}
	}
	for _, i := range order {
		f.Put(names[i], inode(i), keyOf(names[i]))
	}
	if levels := fmt.Sprint(len(f.runs), f.runs[0].level); levels != "2 1" {
		t.Fatalf("tables and level: %s", levels)
	}
	check := func(when string, f *Files) {
		t.Helper()
		for i, name := range names {
			if d, ok := f.Get(name, inode(i)); !ok || d != keyOf(name) {
				t.Fatalf("%s: %s has %q, %v", when, name, d, ok)
			}
			if _, ok := f.Get(name, stat(7)); ok {
				t.Fatalf("%s: %s holds for what it was", when, name)
			}
		}
	}
	check("before", f)
	f = reopened(t, c, f)
	check("after", f)
	if f.saved.entries != len(names) || f.saved.entries != f.used.count() {
		t.Errorf("%d entries, %d of them used, of %d files", f.saved.entries, f.used.count(), len(names))
	}
	last := ""
	must(t, merged(tableCursors([]*fileTable{f.saved}), func(e placedEntry) error {
		if last != "" && pathorder.Compare(last, e.path) >= 0 {
			return fmt.Errorf("%s comes before %s", last, e.path)
		}
		last = strings.Clone(e.path)
		return nil
	}))
	left, err := os.ReadDir(filepath.Dir(f.path))
	must(t, err)
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFilesOfSeveralGoroutines(t *testing.T) {
	c := newCache(t)
	names := manyNames(30_000)
	f := filled(t, c, names[:15_000])
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := part; i < len(names); i += 4 {
				_, ok := f.Get(names[i], stat(uint64(i)))
				if ok != (i < 15_000) {
					t.Errorf("%s: %v", names[i], ok)
				}
				if !ok {
					f.Put(names[i], stat(uint64(i)), keyOf("content"))
				}
			}
		})
	}
	all.Wait()
	if n := holding(reopened(t, c, f), names); n != len(names) {
		t.Errorf("%d of %d", n, len(names))
	}
}

func TestWhatCannotGoToTheDiskIsForgotten(t *testing.T) {
	c := newCache(t)
	f := openFiles(t, c)
	must(t, os.RemoveAll(filepath.Dir(f.path)))
	names := manyNames(freshInMemory + 1)
	for i, name := range names {
		f.Put(name, stat(uint64(i)), keyOf("content"))
	}
	if n := holding(f, names); n != 1 {
		t.Errorf("%d are known", n)
	}
	if err := f.Save(); err == nil {
		t.Error("it was saved nowhere")
	}
}

// heap is the live heap.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestMemoryDoesNotGrowWithTheFiles(t *testing.T) {
	const bound = 4 << 20
	c := newCache(t)
	for _, n := range []int{50_000, 200_000} {
		names := manyNames(n)
		before := heap()
		f := openFiles(t, c)
		most := int64(0)
		for i, name := range names {
			f.Put(name, stat(uint64(i)), keyOf("content"))
			if i%(5*freshInMemory) == 5*freshInMemory-2 {
				most = max(most, heap()-before)
			}
		}
		must(t, f.Save())
		must(t, f.Close())
		f = openFiles(t, c)
		if got := holding(f, names); got != n {
			t.Errorf("%d of %d are known", got, n)
		}
		warm := heap() - before
		t.Logf("%d files: %d KiB while they are added, %d KiB when they are known", n, most>>10, warm>>10)
		if most > bound || warm > bound {
			t.Errorf("%d files: more than %d KiB", n, bound>>10)
		}
		must(t, f.Close())
		runtime.KeepAlive(names)
	}
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
	if n := f.saved.entries; n != 1 {
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
	names := manyNames(20_000)
	filled(b, c, names)
	for b.Loop() {
		f := openFiles(b, c)
		if n := holding(f, names); n != len(names) {
			b.Fatal(n)
		}
		must(b, f.Close())
	}
}

func BenchmarkNewContextOf20000Files(b *testing.B) {
	c := newCache(b)
	names := manyNames(20_000)
	for b.Loop() {
		f := openFiles(b, c)
		for i, name := range names {
			f.Put(name, stat(uint64(i)), "sha256:c5a8b9a1c5a8b9a1c5a8b9a1c5a8b9a1c5a8b9a1c5a8b9a1c5a8b9a1c5a8b9a1")
		}
		must(b, f.Save())
		must(b, f.Close())
		must(b, os.Remove(f.path))
	}
}
