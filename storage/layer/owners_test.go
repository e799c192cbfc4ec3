package layer

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// reopened gives what a record's file tells. To write it isn't to say that it is kept.
func reopened(t *testing.T, r *Owners) *Owners {
	t.Helper()
	name := filepath.Join(t.TempDir(), "owners")
	f, err := os.Create(name)
	must(t, err)
	unsaved := r.Unsaved()
	must(t, r.Write(f))
	must(t, f.Close())
	if r.Unsaved() != unsaved {
		t.Errorf("written, but not kept yet: unsaved is %v, and was %v", r.Unsaved(), unsaved)
	}
	f, err = os.Open(name)
	must(t, err)
	again, err := OpenOwners(f, t.TempDir())
	must(t, err)
	return again
}

// holds compares a record with what it should have.
func holds(t *testing.T, r *Owners, want map[string]Owner, random *rand.Rand) {
	t.Helper()
	paths := []string{"no such path", "", "\xff\xff", "dir", "dir/0000"}
	for path := range want {
		paths = append(paths, path, path+"x", path+"/", strings.TrimSuffix(path, "1"))
	}
	slices.Sort(paths)
	for range 2 { // in their order, and some of them in none
		for _, path := range paths {
			got, ok, err := r.Get(path)
			wanted, there := want[path]
			if ok != there || err != nil || !reflect.DeepEqual(got, wanted) {
				t.Fatalf("%d owners: %q has %+v, %v (%v), not %+v", len(want), path, got, ok, err, wanted)
			}
		}
		random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		paths = paths[:min(len(paths), 1000)]
	}
}

// A record has what was set, in memory and in a file, as it is and changed again.
func TestOwnersAreFound(t *testing.T) {
	odd := []string{"", "a", "b\xff", "b\xfe/\xff", `q"uote`, `q":{"UID":1}`, `back\`, ":colon", `:{"UID":7}`, `":`, `back\\"`, "line\nbreak", "<&>", "ä", "\x01"}
	for _, many := range []int{0, 1, 100, 5000} {
		r, want, random := NewOwners(t.TempDir()), map[string]Owner{}, rand.New(rand.NewPCG(1, uint64(many)))
		set := func(path string, o Owner) {
			must(t, r.set(path, o))
			want[path] = o
		}
		for i, path := range odd[:min(len(odd), many)] {
			set(path, Owner{UID: uint32(i + 1), Xattrs: map[string][]byte{"x": {0xff}}})
		}
		for i := range many {
			set(fmt.Sprintf("dir/%04d/%d", i, i*i), Owner{UID: uint32(i), GID: 1, Mode: 0o444})
			if i%500 == 7 {
				set(fmt.Sprintf("dir/%04d/long", i), Owner{UID: 1, Xattrs: map[string][]byte{"x": bytes.Repeat([]byte("x"), 3*i)}})
			}
		}
		if r.Empty() != (many == 0) || r.Unsaved() != (many > 0) {
			t.Errorf("%d owners: empty %v, unsaved %v", many, r.Empty(), r.Unsaved())
		}
		holds(t, r, want, random)
		for range 3 {
			r = reopened(t, r)
			if r.Unsaved() || (r.old != nil) != (many == 5000) {
				t.Errorf("%d owners: unsaved %v, in rows %v", many, r.Unsaved(), r.old != nil)
			}
			holds(t, r, want, random)
			must(t, r.drop("never"))
			if r.Unsaved() {
				t.Error("to drop what isn't there changes it")
			}
			for _, path := range slices.Sorted(maps.Keys(want)) {
				if random.IntN(4) == 0 {
					must(t, r.drop(path))
					delete(want, path)
				}
				if random.IntN(4) == 0 {
					set(path+"/new", Owner{GID: random.Uint32()})
				}
				if random.IntN(4) == 0 {
					set(path, Owner{GID: random.Uint32()})
				}
			}
			holds(t, r, want, random)
			var all bytes.Buffer
			must(t, r.Write(&all))
			got := map[string]Owner{}
			must(t, readOwners(&all, func(path string, o Owner) error { got[path] = o; return nil }))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d owners are written, %d are there", len(got), len(want))
			}
			if many == 5000 && len(want) < 2000 {
				break
			}
		}
		must(t, r.Close())
	}
}

// What is no record is an error: of a long one, where it is read.
func TestDamagedOwnersAreAnError(t *testing.T) {
	open := func(content string) (*Owners, error) {
		name := filepath.Join(t.TempDir(), "owners")
		must(t, os.WriteFile(name, []byte(content), 0o600))
		f, err := os.Open(name)
		must(t, err)
		return OpenOwners(f, t.TempDir())
	}
	r := NewOwners(t.TempDir())
	var short bytes.Buffer
	must(t, r.set("a", Owner{UID: 1}))
	must(t, r.Write(&short))
	for _, bad := range []string{fmt.Sprintf("{%q:{}}", "\x00!"), "", "[]", `{"a":1}`, short.String() + "{}", short.String()[:short.Len()-2]} {
		if _, err := open(bad); err == nil || CheckOwners(strings.NewReader(bad)) == nil {
			t.Errorf("%q is taken for a record", bad)
		}
	}
	for n := range 3000 {
		must(t, r.set(fmt.Sprintf("directory/of/files/%05d", n), Owner{UID: 1}))
	}
	var long bytes.Buffer
	must(t, r.Write(&long))
	if _, err := open(long.String()[:long.Len()-3]); err == nil {
		t.Error("the first part is taken for a record")
	}
	damaged := long.Bytes()
	copy(damaged[long.Len()/2:], "\n\n\n\n\n")
	r, err := open(string(damaged))
	must(t, err)
	failed := 0
	for n := range 3000 {
		if _, _, err := r.Get(fmt.Sprintf("directory/of/files/%05d", n)); err != nil {
			failed++
		}
	}
	if failed == 0 || CheckOwners(bytes.NewReader(damaged)) == nil {
		t.Errorf("%d are not found in a damaged record", failed)
	}
	// As one line, without an order, it was written before.
	var line strings.Builder
	line.WriteString(`{"b":{"UID":1,"GID":2}`)
	for n := range 3000 {
		fmt.Fprintf(&line, `,"a/%d":{"UID":0,"GID":3}`, n)
	}
	line.WriteString("}")
	for _, content := range []string{`{"b":{"UID":1,"GID":2},"a/7":{"UID":0,"GID":3}}`, line.String(), line.String() + "\n"} {
		r, err := open(content)
		must(t, err)
		for path, want := range map[string]Owner{"b": {UID: 1, GID: 2}, "a/7": {GID: 3}} {
			if got, ok, err := r.Get(path); !ok || err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s has %+v, %v (%v)", path, got, ok, err)
			}
		}
	}
}

// However many there are, they take no memory.
func TestOwnersAreOutOfMemory(t *testing.T) {
	before := heldMemory()
	r := NewOwners(t.TempDir())
	for n := range 100_000 {
		must(t, r.set(fmt.Sprintf("directory/%03d/of/files/%05d", n/1000, n), Owner{UID: 1000, GID: 1000, Mode: 0o644}))
	}
	again := reopened(t, r)
	for n := range 100_000 {
		if _, ok, err := again.Get(fmt.Sprintf("directory/%03d/of/files/%05d", n/1000, n)); !ok || err != nil {
			t.Fatalf("%d isn't there (%v)", n, err)
		}
	}
	if held := heldMemory() - before; held > 2<<20 {
		t.Errorf("%d bytes are held", held)
	}
	must(t, r.Close())
	must(t, again.Close())
}
