package spool

import (
	"fmt"
	"maps"
	"os"
	"testing"
)

// A map has what a map in memory has, few names or many.
func TestMapHasWhatWasSet(t *testing.T) {
	for _, names := range []int{0, 1, fewNames, fewNames + 1, 20 * fewNames} {
		dir := t.TempDir()
		m, want := NewMap(dir), map[string]string{}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		name := func(n int) string { return fmt.Sprintf("a/directory/%d", n) }
		for n := range names {
			check(m.Set(name(n), fmt.Sprint(n)))
			want[name(n)] = fmt.Sprint(n)
		}
		for n := 0; n < names; n += 3 { // some have no text, some go, and some come again
			check(m.Set(name(n), ""))
			want[name(n)] = ""
			check(m.Delete(name(n + 1)))
			delete(want, name(n+1))
		}
		for n := 1; n < names; n += 6 {
			check(m.Set(name(n), "again"))
			want[name(n)] = "again"
		}
		check(m.Delete("never"))
		got := map[string]string{}
		check(m.Each(func(name, text string) error {
			if _, twice := got[name]; twice {
				t.Errorf("%d names: %s comes twice", names, name)
			}
			got[name] = text
			return nil
		}))
		if !maps.Equal(got, want) || m.Len() != len(want) {
			t.Errorf("%d names: it has %d, says %d, and should have %d", names, len(got), m.Len(), len(want))
		}
		for n := range names {
			text, ok, err := m.Get(name(n))
			wanted, there := want[name(n)]
			if text != wanted || ok != there || err != nil {
				t.Fatalf("%d names: %d has %q, %v (%v)", names, n, text, ok, err)
			}
		}
		check(m.Each(func(name, _ string) error { return m.Delete(name) }))
		if m.Len() != 0 {
			t.Errorf("%d names: %d are left", names, m.Len())
		}
		if (m.many != nil) != (names > fewNames) || len(m.few) > fewNames {
			t.Errorf("%d names: %d are in memory, there are files: %v", names, len(m.few), m.many != nil)
		}
		check(m.Close())
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}
