package spool

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestSorterPutsInOrder(t *testing.T) {
	for _, count := range []int{0, 1, 100, recordsAtOnce, 5*recordsAtOnce + 7} {
		dir := t.TempDir()
		s := NewSorter(dir, strings.Compare)
		const step = 7919 // a prime
		for i := range count {
			n := i * step % max(count, 1)
			if err := s.Add(Record{fmt.Sprintf("%06d", n/3), n % 3, int64(n)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			want := 0
			err := s.Each(func(r Record) error {
				if r.Text != fmt.Sprintf("%06d", want/3) || r.Number != want%3 || r.Ref != int64(want) {
					t.Fatalf("of %d, %v comes in place %d", count, r, want)
				}
				want++
				return nil
			})
			if err != nil || want != count {
				t.Errorf("%d of %d, %v", want, count, err)
			}
		}
		if len(s.last) > recordsAtOnce {
			t.Errorf("%d are in memory", len(s.last))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Errorf("%v is left", names)
		}
	}
}
