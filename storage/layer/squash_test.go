package layer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSquashedStepsGiveTheSameTree squashes the layers of each step and of one
// that comes some places behind it, lays the result on the base, and looks
// whether that is the tree that the steps have led to; and whether all drivers
// give the same layer. (A step that can't be executed after another does what it
// can.)
func TestSquashedStepsGiveTheSameTree(t *testing.T) {
	made := newStack(t, Overlay)
	baseTar := packed(t, made.run(shell(t, base)), TimeRule{})
	for i := range steps {
		for _, behind := range []int{1, 8} {
			first, second := steps[i], steps[(i+behind)%len(steps)]
			if strings.Contains(first.script, "AF_UNIX") {
				continue // a copy of the tree shows sockets to the next step
			}
			t.Run(fmt.Sprintf("%d,%d", i, (i+behind)%len(steps)), func(t *testing.T) {
				t.Parallel()
				var reproduced []byte
				for _, flavor := range flavors {
					s := newStack(t, flavor)
					s.unpack(baseTar)
					below := s.tree()
					one := s.run(shell(t, "("+first.script+") >/dev/null 2>&1 || true"))
					two := s.run(shell(t, "("+second.script+") >/dev/null 2>&1 || true"))
					squashed := func(rule TimeRule) []byte {
						src := Squash([]Part{{Source: one, Time: rule}, {Source: two, Time: rule}}, below, s.tree(), t.TempDir())
						return packed(t, src, TimeRule{})
					}
					again := newStack(t, flavor)
					again.unpack(baseTar)
					again.unpack(squashed(TimeRule{}))
					same(t, treeList(t, again.tree(), false), treeList(t, s.tree(), false))
					got := squashed(TimeRule{Mode: TimeClamp, Epoch: 1e9 + 5e8})
					if reproduced == nil {
						reproduced = got
					} else if !bytes.Equal(reproduced, got) {
						t.Errorf("%s: %s; then %s: other bytes than under %s:\n%s", flavor, first.script, second.script, flavors[0], difference(reproduced, got))
					}
				}
			})
		}
	}
}

func TestSquashLeavesNothingOfWhatCameAndWent(t *testing.T) {
	s := newStack(t, Overlay)
	s.run(shell(t, base))
	below := s.tree()
	var parts []Part
	for i, script := range []string{
		"mkdir -p new/dir; echo x > new/dir/x; rm -r keep var; echo 1 > l1; ln l1 l2; ln l1 l3",
		"rm -r new l1; mkdir -p var/a; echo keep > keep; mv srv/data/a srv/data/z",
		"rm keep; mkdir keep; echo e > keep/e; rm srv/data/z; touch late",
	} {
		parts = append(parts, Part{Source: s.run(shell(t, script)), Time: TimeRule{Mode: TimeExact, Epoch: int64(i)}})
	}
	src := Squash(parts, below, s.tree(), t.TempDir())
	want := "d keep/\nw keep/d\nf keep/e\nf l2\nh l3 -> l2\nf late\ni srv/\ni srv/data/\nw srv/data/a\nd var/\nd var/a/\nw var/lib\n"
	if got := listing(t, src); got != want {
		t.Errorf("the layer has\n%swant\n%s", got, want)
	}
	// Each entry has the time that it has in its own layer.
	times := map[string]int64{}
	must(t, src.Walk(context.Background(), func(e *Entry) error {
		times[e.Path] = e.ModTime.Unix()
		return nil
	}))
	for path, want := range map[string]int64{"l2": 0, "l3": 0, "keep/e": 2, "late": 2} {
		if times[path] != want {
			t.Errorf("%s has the time %d, not %d", path, times[path], want)
		}
	}
}

// manyEntries are n empty files in directories of a hundred.
type manyEntries struct{ n, from int }

func (m manyEntries) Walk(_ context.Context, fn func(*Entry) error) error {
	for i := m.from; i < m.from+m.n; i++ {
		dir := fmt.Sprintf("directory%07d", i/100)
		if i%100 == 0 || i == m.from {
			if err := fn(&Entry{Path: dir, Type: TypeDir, Mode: 0o755}); err != nil {
				return err
			}
		}
		if err := fn(&Entry{Path: fmt.Sprintf("%s/link%07d", dir, i), Type: TypeSymlink, Linkname: "to", Mode: 0o777}); err != nil {
			return err
		}
	}
	return nil
}

func TestSquashTakesNoMemoryForAnEntry(t *testing.T) {
	const parts, bound = 8, 2 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for _, n := range []int{10_000, 100_000} {
		var all []Part
		for i := range parts {
			all = append(all, Part{Source: manyEntries{n / parts, i * n / parts / 2}})
		}
		src := Squash(all, NewTree(nil), NewTree(nil), t.TempDir())
		most, paths, last := int64(0), 0, ""
		must(t, src.Walk(context.Background(), func(e *Entry) error {
			if e.Path <= last {
				return fmt.Errorf("%s comes after %s", e.Path, last)
			}
			last = e.Path
			if paths++; paths%(n/8) == 0 {
				most = max(most, heap()-before)
			}
			return nil
		}))
		t.Logf("%d entries, %d left: %d KiB", n, paths, most>>10)
		if most > bound {
			t.Errorf("%d entries take %d KiB", n, most>>10)
		}
	}
}

func TestRecompressKeepsTheTar(t *testing.T) {
	content := bytes.Repeat([]byte("some content "), 100_000)
	src := Entries([]*Entry{{
		Path: "f", Type: TypeReg, Size: int64(len(content)), ModTime: time.Unix(7, 0),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}})
	forms := []Compression{Gzip, Zstd, None}
	for _, from := range forms {
		var blob bytes.Buffer
		packed, err := Pack(context.Background(), src, &blob, PackOptions{Compression: from})
		must(t, err)
		for _, to := range forms {
			var again bytes.Buffer
			got, err := Recompress(context.Background(), bytes.NewReader(blob.Bytes()), &again, PackOptions{Compression: to})
			must(t, err)
			got.Entries = packed.Entries // which it doesn't count
			verify(t, got, again.Bytes(), string(to))
			if got.DiffID != packed.DiffID || got.Blob.MediaType != to.MediaType() {
				t.Errorf("%s to %s: %+v, was %+v", from, to, got, packed)
			}
			if !slices.Contains(forms[2:], from) {
				if _, err := Recompress(context.Background(), bytes.NewReader(blob.Bytes()[:blob.Len()-5]), io.Discard, PackOptions{Compression: to}); err == nil {
					t.Errorf("%s to %s: a blob that is cut short is taken", from, to)
				}
			}
		}
	}
}
