package layer

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/builder-oci/builder/internal/spool"
)

// Owners is the side record of a directory in single-id mode: the owners of
// links and special files, which can't bear user attributes, or of everything; see
// [Owner]. Keys are paths as in [Entry]. There may be very many, so that it is kept
// out of memory. A nil one is empty and can't be written to.
type Owners struct {
	temp    string
	mu      sync.Mutex
	old     *ownerRows // what a file has; nil for nothing
	changed *spool.Map // what was set since, and an empty text of what was taken out
	unsaved bool
}

// NewOwners gives an empty record, which makes its files in the directory temp, or
// where that is "" in the system's.
func NewOwners(temp string) *Owners { return &Owners{temp: temp, changed: spool.NewMap(temp)} }

// mostInMemory is the size, in bytes, up to which a record's file is read at once.
const mostInMemory = 64 << 10

// OpenOwners reads what Write wrote. The file is closed once it isn't needed.
func OpenOwners(f *os.File, temp string) (*Owners, error) {
	r := NewOwners(temp)
	err := r.open(f)
	if r.old == nil {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Owners) open(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() > mostInMemory {
		r.old, err = openRows(f, st.Size())
		if !errors.Is(err, errNoRows) {
			return err
		}
	}
	err = readOwners(f, r.set)
	r.unsaved = false
	return err
}

// Close gives everything back.
func (r *Owners) Close() error {
	if r == nil {
		return nil
	}
	err := r.changed.Close()
	if r.old != nil {
		err = errors.Join(err, r.old.file.Close())
	}
	return err
}

// Get gives the owner that a path has on record.
func (r *Owners) Get(path string) (o Owner, ok bool, err error) {
	if r == nil {
		return Owner{}, false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text, ok, err := r.changed.Get(path)
	if err == nil && !ok && r.old != nil {
		text, err = r.old.get(path)
	}
	if err != nil || text == "" {
		return Owner{}, false, err
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return Owner{}, false, errors.Join(errOwners, err)
	}
	return o, true, nil
}

// OfRoot gives a record of the root alone.
func (r *Owners) OfRoot() (*Owners, error) {
	root := NewOwners(r.temp)
	o, ok, err := r.Get("")
	if err == nil && ok {
		err = root.set("", o)
	}
	return root, err
}

func (r *Owners) set(path string, o Owner) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return r.setText(path, string(text))
}

func (r *Owners) setText(path, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = true
	return r.changed.Set(path, text)
}

// drop takes a path out, if it is there.
func (r *Owners) drop(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := ""
	if r.old != nil {
		var err error
		if old, err = r.old.get(path); err != nil {
			return err
		}
	}
	text, ok, err := r.changed.Get(path)
	if err != nil || !ok && old == "" || ok && text == "" {
		return err
	}
	r.unsaved = true
	if old == "" {
		return r.changed.Delete(path)
	}
	return r.changed.Set(path, "")
}

// Saved says that what Write wrote last is kept.
func (r *Owners) Saved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = false
}

// Unsaved says that it isn't what was saved last, or what it was opened from.
func (r *Owners) Unsaved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unsaved
}

// Empty says that it has none; of one that is read from its file only in part, that
// isn't told.
func (r *Owners) Empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.old == nil && r.changed.Len() == 0
}

// Write writes an object of JSON by paths, one after the other, each in a line. Those
// that aren't UTF-8 are in base64.
func (r *Owners) Write(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorter := spool.NewSorter(r.temp, strings.Compare)
	defer sorter.Close()
	err := r.changed.Each(func(path, _ string) error { return sorter.Add(spool.Record{Text: path}) })
	if err != nil {
		return err
	}
	to := rowWriter{to: bufio.NewWriter(w)}
	from, err := r.old.all()
	if err != nil {
		return err
	}
	err = sorter.Each(func(changed spool.Record) error {
		path := changed.Text
		if err := from.until(path, to.row); err != nil {
			return err
		}
		text, _, err := r.changed.Get(path)
		if err != nil || text == "" {
			return err
		}
		return to.row(path, text)
	})
	if err == nil {
		err = from.rest(to.row)
	}
	return errors.Join(err, to.close())
}
