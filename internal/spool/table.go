package spool

import (
	"errors"
	"io"
	"os"
)

const (
	pageRows = 1 << 10
	// pagesKept is how many pages of a table are in memory.
	pagesKept = 32
)

// Row is what a table has at a place.
type Row [32]byte

// Table is a list of rows that are set and read in any order, though best
// nearly in their own. It isn't for several goroutines.
type Table struct {
	dir   string
	file  *os.File // nil while all pages are in memory
	pages map[int]*page
	ages  []int // the pages' numbers, the oldest first
}

type page struct {
	rows    [pageRows]Row
	changed bool
}

// NewTable gives a table of rows that are zero, which makes its file in dir.
func NewTable(dir string) *Table { return &Table{dir: dir, pages: map[int]*page{}} }

// Set writes a row.
func (t *Table) Set(n int, r Row) error {
	p, err := t.page(n / pageRows)
	if err != nil {
		return err
	}
	p.rows[n%pageRows], p.changed = r, true
	return nil
}

// Get reads a row.
func (t *Table) Get(n int) (Row, error) {
	p, err := t.page(n / pageRows)
	if err != nil {
		return Row{}, err
	}
	return p.rows[n%pageRows], nil
}

// Close gives everything back.
func (t *Table) Close() error {
	t.pages, t.ages = nil, nil
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}

func (t *Table) page(n int) (*page, error) {
	if p, ok := t.pages[n]; ok {
		return p, nil
	}
	p := &page{}
	if len(t.ages) == pagesKept {
		var err error
		if p, err = t.putAside(); err != nil {
			return nil, err
		}
	}
	if t.file != nil {
		if err := p.read(t.file, n); err != nil {
			return nil, err
		}
	}
	t.pages[n] = p
	t.ages = append(t.ages, n)
	return p, nil
}

// putAside writes the oldest page to the file, and gives it to be used anew.
func (t *Table) putAside() (*page, error) {
	oldest := t.ages[0]
	p := t.pages[oldest]
	if p.changed {
		if t.file == nil {
			var err error
			if t.file, err = Unnamed(t.dir); err != nil {
				return nil, err
			}
		}
		if err := p.write(t.file, oldest); err != nil {
			return nil, err
		}
	}
	delete(t.pages, oldest)
	t.ages = append(t.ages[:0], t.ages[1:]...)
	*p = page{}
	return p, nil
}

func (p *page) write(f *os.File, n int) error {
	_, err := f.WriteAt(p.bytes(), int64(n)*pageRows*int64(len(Row{})))
	return err
}

func (p *page) read(f *os.File, n int) error {
	data := make([]byte, pageRows*len(Row{}))
	// Beyond the end, rows are zero.
	if _, err := f.ReadAt(data, int64(n)*int64(len(data))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := range p.rows {
		p.rows[i] = Row(data[i*len(Row{}):])
	}
	return nil
}

func (p *page) bytes() []byte {
	data := make([]byte, 0, pageRows*len(Row{}))
	for i := range p.rows {
		data = append(data, p.rows[i][:]...)
	}
	return data
}
