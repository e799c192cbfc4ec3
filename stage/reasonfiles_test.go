package stage

import (
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// reasonFor gives why a job is executed whose inputs were others in the last build.
func reasonFor(t *testing.T, was, is iter.Seq[cache.Input]) Reason {
	t.Helper()
	c := cache.Open(t.TempDir(), t.TempDir())
	for _, dir := range c.Dirs() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	then := digest.FromString("then")
	if err := c.PutStep(&cache.Step{Key: then}, was); err != nil {
		t.Fatal(err)
	}
	r := &Runner{Cache: c, Former: func(Place) *Former { return &Former{Key: then, Instruction: "COPY . ."} }}
	r.Settings.StateDir = t.TempDir()
	return r.reason(Step{}, &job{kind: "copy", instruction: "COPY . .", details: is}, digest.FromString("now"))
}

// manyFiles are the files with numbers from one to another, with what is said of
// each.
func manyFiles(from, to int, value func(int) string) iter.Seq[cache.Input] {
	return func(yield func(cache.Input) bool) {
		for i := from; i < to; i++ {
			if !yield(cache.Input{Name: fmt.Sprintf("file:directory/file%06d", i), Value: value(i)}) {
				return
			}
		}
	}
}

func is(mode string) func(int) string { return func(int) string { return "0 " + mode + " 0:0" } }

func TestOfManyFilesThoseThatDifferAreCounted(t *testing.T) {
	const n = 2 * talliedAtOnce
	list := func(r Reason) string {
		var names []string
		for _, c := range r.Changes {
			names = append(names, strings.TrimPrefix(c.Name, "directory/file")+" "+c.How)
		}
		return strings.Join(names, ", ")
	}
	some := func(i int) string { return is(map[bool]string{true: "0755", false: "0644"}[i%50_000 == 7])(i) }
	for name, tc := range map[string]struct {
		was, is iter.Seq[cache.Input]
		files   int
		first   string
	}{
		"none":    {manyFiles(0, n, is("0644")), manyFiles(0, n, is("0644")), 0, ""},
		"three":   {manyFiles(0, n, is("0644")), manyFiles(0, n, some), 3, "000007 mode, 050007 mode, 100007 mode"},
		"all":     {manyFiles(0, n, is("0644")), manyFiles(0, n, is("0600")), n, "000000 mode, 000001 mode, 000002 mode, 000003 mode, 000004 mode, 000005 mode, 000006 mode, 000007 mode, 000008 mode, 000009 mode"},
		"shifted": {manyFiles(0, n, is("0644")), manyFiles(5, n+2, is("0644")), 7, fmt.Sprintf("%d added, %d added, 000000 removed, 000001 removed, 000002 removed, 000003 removed, 000004 removed", n, n+1)},
		"others":  {manyFiles(0, n, is("0644")), manyFiles(n, 2*n, is("0644")), 2 * n, strings.Join(added(n, 10), ", ")},
	} {
		r := reasonFor(t, tc.was, tc.is)
		if got := list(r); r.Files != tc.files || got != tc.first {
			t.Errorf("%s: %d files, %s", name, r.Files, got)
		}
	}
}

func added(from, n int) (list []string) {
	for i := from; i < from+n; i++ {
		list = append(list, fmt.Sprintf("%06d added", i))
	}
	return list
}

// A mount of which only late files differ is not said to differ in anything else.
func TestManyFilesOfMounts(t *testing.T) {
	const some, other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	shows := func(content, mode string) iter.Seq[cache.Input] {
		inputs := []cache.Input{{Name: "mounted:/a", Value: content}, {Name: "mounted:/b", Value: content}, {Name: "mounted:/c", Value: content}}
		for i := range 20 {
			inputs = append(inputs, cache.Input{Name: fmt.Sprintf("mounted:/a:%02d", i), Value: "0 " + mode + " 0:0"})
		}
		inputs = append(inputs, cache.Input{Name: "mounted:/b:f", Value: "0 " + mode + " 0:0"})
		return slices.Values(inputs)
	}
	r := reasonFor(t, shows(some, "0644"), shows(other, "0600"))
	if len(r.Changes) != maxFiles+1 || r.Files != 21 {
		t.Fatalf("%+v", r)
	}
	for i, c := range r.Changes[:maxFiles] {
		if want := (Difference{Kind: ChangedFile, Name: fmt.Sprintf("%02d", i), Mount: "/a", How: "mode"}); c != want {
			t.Errorf("%+v", c)
		}
	}
	if want := (Difference{Kind: ChangedMount, Name: "/c", How: "content"}); r.Changes[maxFiles] != want {
		t.Errorf("%+v", r.Changes[maxFiles])
	}
}

func TestAReasonTakesNoMemoryForAFile(t *testing.T) {
	const bound = 4 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	most := int64(0)
	watched := func(yield func(cache.Input) bool) {
		for in := range manyFiles(0, 500_000, is("0600")) {
			if strings.HasSuffix(in.Name, "499999") {
				most = max(most, heap()-before)
			}
			if !yield(in) {
				return
			}
		}
	}
	r := reasonFor(t, manyFiles(0, 500_000, is("0644")), watched)
	t.Logf("%d files: %d KiB", r.Files, most>>10)
	if r.Files != 500_000 || most > bound {
		t.Errorf("%d files take %d KiB", r.Files, most>>10)
	}
}
