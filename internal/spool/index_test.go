package spool

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestIndexFindsWhatWasSet(t *testing.T) {
	for _, keys := range []uint64{0, 1, fewKeys, fewKeys + 1, 20 * fewKeys} {
		dir := t.TempDir()
		x := NewIndex(dir)
		for n := range keys {
			if err := x.Set(NumberKey(n%7, n), n); err != nil {
				t.Fatal(err)
			}
		}
		for n := uint64(0); n < keys; n += 3 {
			if err := x.Set(NumberKey(n%7, n), n+1000); err != nil {
				t.Fatal(err)
			}
		}
		for n := range keys {
			want := n
			if n%3 == 0 {
				want += 1000
			}
			if got, ok, err := x.Get(NumberKey(n%7, n)); got != want || !ok || err != nil {
				t.Fatalf("%d keys: %d has %d, %v (%v)", keys, n, got, ok, err)
			}
			if _, ok, err := x.Get(NumberKey(n%7+1, n)); ok || err != nil {
				t.Fatalf("%d keys: one that was never set has a number (%v)", keys, err)
			}
		}
		if (x.file != nil) != (keys > fewKeys) || len(x.few) > fewKeys {
			t.Errorf("%d keys: %d are in memory, there is a file: %v", keys, len(x.few), x.file != nil)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Errorf("%v is left", names)
		}
	}
}

func TestTextsAreFound(t *testing.T) {
	const texts = 20000
	x := NewTexts(t.TempDir())
	text := func(n int) string { return strings.Repeat(fmt.Sprint(n, "/"), n%97) }
	for n := range texts {
		if err := x.Set(TextKey(1, fmt.Sprint(n)), text(n)); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := x.Get(TextKey(1, fmt.Sprint(n))); got != text(n) || !ok || err != nil { // from the end
			t.Fatalf("%d has %q, %v (%v)", n, got, ok, err)
		}
	}
	if x.texts.file == nil {
		t.Error("all is in memory")
	}
	if err := x.Set(TextKey(1, "7"), "another"); err != nil {
		t.Fatal(err)
	}
	for n := range texts {
		want := text(n)
		if n == 7 {
			want = "another"
		}
		if got, ok, err := x.Get(TextKey(1, fmt.Sprint(n))); got != want || !ok || err != nil {
			t.Fatalf("%d has %q, %v (%v)", n, got, ok, err)
		}
	}
	if _, ok, err := x.Get(TextKey(2, "7")); ok || err != nil {
		t.Errorf("what was never set is there (%v)", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkIndex(b *testing.B) {
	x := NewIndex(b.TempDir())
	defer x.Close()
	for n := range uint64(b.N) {
		if err := x.Set(NumberKey(1, n), n); err != nil {
			b.Fatal(err)
		}
	}
}
