package dirnames

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func read(t *testing.T, names ...string) List {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var list List
	for range 2 { // from the beginning each time
		if list, err = Read(int(f.Fd()), make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestNamesAreInOrder(t *testing.T) {
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf("name-%d-%s", i, strings.Repeat("x", i%50)))
	}
	want = append(want, strings.Repeat("y", 255))
	want = append(want, "..x", "a", "\xff", "a b")
	slices.Sort(want)
	list := read(t, want...)
	var got []string
	for name, kind := range list.All() {
		if kind != unix.DT_REG && kind != unix.DT_UNKNOWN {
			t.Errorf("%q is of kind %d", name, kind)
		}
		if at := list.At(len(got)); at != name || list.Path("d/e", len(got)) != "d/e/"+name || list.Path("", len(got)) != name {
			t.Errorf("%q at %d is %q", name, len(got), at)
		}
		if !list.Has(name) {
			t.Errorf("%q isn't found", name)
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) || list.Len() != len(want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"", ".", "..", "name-", "name-3", "\xff\xff"} {
		if list.Has(name) {
			t.Errorf("%q is found", name)
		}
	}
}

func TestNamesComeAndGo(t *testing.T) {
	list := read(t, "a", "c", "e")
	list.Delete(func(name string, _ byte) bool { return name == "c" })
	list.Add(slices.Values([]string{"f", "b"}))
	if got := slices.Collect(NewUnion(list).All()); !slices.Equal(got, []string{"a", "b", "e", "f"}) {
		t.Errorf("%q", got)
	}
	if list.Has("c") || !list.Has("b") {
		t.Error("names aren't found as they are listed")
	}
}

func TestUnionIsInOrder(t *testing.T) {
	u := NewUnion(read(t, "b", "d", "z"), List{}, read(t, "a", "c", "e"))
	for _, want := range [][]Name{{{"a", 2}, {"b", 0}, {"c", 2}, {"d", 0}}, {{"e", 2}, {"z", 0}}, {}, {}} {
		if got := u.Next(4); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestUnionIsPassed(t *testing.T) {
	u := NewUnion(read(t, "b", "d", "z"), read(t, "a", "c", "e"))
	var found []string
	for _, name := range []string{"", "a", "aa", "b", "d", "e", "f", "z", "zz"} {
		if u.Pass(name) {
			found = append(found, name)
		}
	}
	if want := []string{"a", "b", "d", "e", "z"}; !slices.Equal(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
}
