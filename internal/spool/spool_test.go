package spool

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"
)

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for _, size := range []int{0, 1, shortest, shortest + 1, 3*shortest + 77} {
		dir := t.TempDir()
		s := New(dir)
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * 7 / 5)
		}
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 999)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		for range 2 {
			got, err := io.ReadAll(s.Reader())
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: %d were read, %v", size, len(got), err)
			}
		}
		if (s.file != nil) != (size > shortest) {
			t.Errorf("%d bytes: there is a file: %v", size, s.file != nil)
		}
		if cap(s.mem) > 2*shortest {
			t.Errorf("%d bytes: %d are in memory", size, cap(s.mem))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Errorf("%v is left", names)
		}
	}
}

// Rows come in their order, and some of them late.
func TestTableKeepsItsRows(t *testing.T) {
	const rows = (pagesKept + 5) * pageRows
	row := func(n int) (r Row) {
		binary.LittleEndian.PutUint64(r[:], uint64(n))
		return r
	}
	dir := t.TempDir()
	table := NewTable(dir)
	order := make([]int, 0, rows)
	for n := range rows {
		if n%pageRows != 3 {
			order = append(order, n)
		}
	}
	for n := 3; n < rows; n += 2 * pageRows {
		order = append(order, n)
	}
	for _, n := range order {
		if err := table.Set(n, row(n)); err != nil {
			t.Fatal(err)
		}
	}
	if len(table.pages) > pagesKept || table.file == nil {
		t.Errorf("%d pages are in memory", len(table.pages))
	}
	for n := range rows {
		want := row(n)
		if n%(2*pageRows) == 3+pageRows {
			want = Row{} // never set
		}
		if got, err := table.Get(n); err != nil || got != want {
			t.Fatalf("row %d is %x (%v)", n, got, err)
		}
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("%v is left", names)
	}
}
