package spool

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"
)

// Record is what a sorter has: a text to sort by, and two numbers.
type Record struct {
	Text   string
	Number int // sorts records of one text
	Ref    int64
}

// recordsAtOnce is how many records are in memory before they are put aside.
const recordsAtOnce = 1 << 13

// sortBuffer is how much of records that were put aside is read at once.
const sortBuffer = 4 << 10

// Sorter puts records in order. It isn't for several goroutines.
type Sorter struct {
	compare func(a, b string) int
	last    []Record
	// runs are records in order that were put aside, each from its place in aside on.
	aside *Spool
	runs  []sortedRun
}

type sortedRun struct {
	at    int64
	count int
}

// NewSorter gives an empty sorter, which makes its file in dir.
func NewSorter(dir string, compare func(a, b string) int) *Sorter {
	return &Sorter{compare: compare, aside: New(dir)}
}

// Add adds a record.
func (s *Sorter) Add(r Record) error {
	s.last = append(s.last, r)
	if len(s.last) < recordsAtOnce {
		return nil
	}
	s.sort()
	s.runs = append(s.runs, sortedRun{s.aside.Size(), len(s.last)})
	var b []byte
	for _, r := range s.last {
		b = AppendText(b[:0], r.Text)
		b = binary.AppendVarint(binary.AppendVarint(b, int64(r.Number)), r.Ref)
		if _, err := s.aside.Write(b); err != nil {
			return err
		}
	}
	s.last = s.last[:0]
	return nil
}

// Each calls fn for all records in their order.
func (s *Sorter) Each(fn func(Record) error) error {
	s.sort()
	if len(s.runs) == 0 {
		for _, r := range s.last {
			if err := fn(r); err != nil {
				return err
			}
		}
		return nil
	}
	m := merged{compare: s.compareRecords}
	for _, run := range s.runs {
		m.from = append(m.from, &recordReader{left: run.count, fields: NewFields(s.aside.From(run.at, sortBuffer))})
	}
	if len(s.last) > 0 {
		m.from = append(m.from, &recordReader{mem: s.last})
	}
	for _, r := range m.from {
		if _, err := r.next(); err != nil {
			return err
		}
	}
	heap.Init(&m)
	for len(m.from) > 0 {
		if err := fn(m.from[0].head); err != nil {
			return err
		}
		more, err := m.from[0].next()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&m, 0)
		default:
			heap.Pop(&m)
		}
	}
	return nil
}

// Close gives everything back.
func (s *Sorter) Close() error {
	s.last = nil
	return s.aside.Close()
}

func (s *Sorter) sort() { slices.SortFunc(s.last, s.compareRecords) }

func (s *Sorter) compareRecords(a, b Record) int {
	return cmp.Or(s.compare(a.Text, b.Text), a.Number-b.Number)
}

// recordReader reads a run.
type recordReader struct {
	head   Record
	left   int // to be read of fields
	fields *Fields
	mem    []Record // in place of fields
}

// next reads the next record, and says whether there was one.
func (r *recordReader) next() (bool, error) {
	switch {
	case len(r.mem) > 0:
		r.head, r.mem = r.mem[0], r.mem[1:]
		return true, nil
	case r.left == 0:
		return false, nil
	}
	r.left--
	r.head = Record{Text: r.fields.Text(), Number: int(r.fields.Int()), Ref: r.fields.Int()}
	return true, r.fields.Err()
}

// merged is a heap of runs, by their heads.
type merged struct {
	compare func(a, b Record) int
	from    []*recordReader
}

func (m *merged) Len() int           { return len(m.from) }
func (m *merged) Swap(i, j int)      { m.from[i], m.from[j] = m.from[j], m.from[i] }
func (m *merged) Less(i, j int) bool { return m.compare(m.from[i].head, m.from[j].head) < 0 }

// Push is for container/heap.
func (m *merged) Push(r any) { m.from = append(m.from, r.(*recordReader)) }

// Pop is for container/heap.
func (m *merged) Pop() any {
	last := m.from[len(m.from)-1]
	m.from = m.from[:len(m.from)-1]
	return last
}
