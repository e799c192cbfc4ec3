package layer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sort"
	"strings"
	"unicode/utf8"
)

var errOwners = errors.New("the record of owners is damaged")

// rawKey begins the key of a path that isn't UTF-8, and so no text of JSON: no path
// can begin with it.
const rawKey = "\x00"

// rowWriter writes an object of JSON, a line for each of its names.
type rowWriter struct {
	to   *bufio.Writer
	rows bool // there were some
}

func (w *rowWriter) row(path, owner string) error {
	key := path
	if !utf8.ValidString(path) {
		key = rawKey + base64.StdEncoding.EncodeToString([]byte(path))
	}
	name, err := json.Marshal(key)
	if err != nil {
		return err
	}
	before := "{"
	if w.rows {
		before = ",\n"
	}
	w.rows = true
	for _, part := range [][]byte{[]byte(before), name, {':'}, []byte(owner)} {
		_, _ = w.to.Write(part) // close tells
	}
	return nil
}

func (w *rowWriter) close() error {
	if !w.rows {
		_ = w.to.WriteByte('{') // Flush tells
	}
	_, _ = w.to.WriteString("}\n")
	return w.to.Flush()
}

// readOwners reads such an object, to its end, written in any way.
func readOwners(in io.Reader, fn func(path string, o Owner) error) error {
	d := json.NewDecoder(in)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errOwners, err)
	}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return errors.Join(errOwners, err)
		}
		path, err := pathOf(key)
		if err != nil {
			return err
		}
		var o Owner
		if err := d.Decode(&o); err != nil {
			return errors.Join(errOwners, err)
		}
		if err := fn(path, o); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing one
		return errors.Join(errOwners, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errOwners
	}
	return nil
}

// CheckOwners is an error where r has something else than Write writes.
func CheckOwners(r io.Reader) error {
	return readOwners(r, func(string, Owner) error { return nil })
}

// pathOf gives the path that a key stands for.
func pathOf(key string) (string, error) {
	encoded, ok := strings.CutPrefix(key, rawKey)
	if !ok {
		return key, nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", errOwners
	}
	return string(raw), nil
}

// ownerRows is a file of very many owners, which are looked up where they are.
type ownerRows struct {
	file *os.File
	size int64

	// The rows of one block, as of the last that was read: all that are in the file
	// from one place to another.
	rows       []ownerRow
	begin, end int64
}

type ownerRow struct{ path, owner string }

// rowBlock is how many bytes of rows are read at once.
const rowBlock = 4 << 10

var errNoRows = errors.New("the record of owners is no list of rows")

func openRows(f *os.File, size int64) (*ownerRows, error) {
	r := &ownerRows{file: f, size: size}
	last := make([]byte, 2)
	if _, err := f.ReadAt(last, size-2); err != nil {
		return nil, err
	}
	if string(last) != "}\n" { // it was once one line without an end
		return nil, errNoRows
	}
	if err := r.read(0, rowBlock); err != nil {
		return nil, err
	}
	if len(r.rows) < 2 {
		return nil, errNoRows
	}
	return r, nil
}

// get gives the owner of a path as a text, "" if it isn't there.
func (r *ownerRows) get(path string) (string, error) {
	if !r.has(path) {
		if err := r.find(path); err != nil {
			return "", err
		}
	}
	at := r.search(path)
	if at < len(r.rows) && r.rows[at].path == path {
		return r.rows[at].owner, nil
	}
	return "", nil
}

// has says that the block is the one in which a path would be.
func (r *ownerRows) has(path string) bool {
	return len(r.rows) > 0 &&
		(r.begin == 0 || r.rows[0].path <= path) && (r.end == r.size || path <= r.rows[len(r.rows)-1].path)
}

func (r *ownerRows) search(path string) int {
	return sort.Search(len(r.rows), func(i int) bool { return r.rows[i].path >= path })
}

// find reads the block in which a path would be.
func (r *ownerRows) find(path string) error {
	// The first row in each half tells on which side to go on. What begins before
	// low is less than path, and what begins at high or after it isn't.
	low, high := int64(0), r.size
	for high-low > rowBlock {
		middle := low + (high-low)/2
		row, begin, end, err := r.rowFrom(middle)
		switch {
		case err != nil:
			return err
		case begin >= high || row.path >= path:
			high = middle
		default:
			low = end
		}
	}
	return r.read(low, high)
}

// rowFrom gives the first row that begins at a place or after it, and from where to
// where it is. Behind the last one there is none, and begin is the size.
func (r *ownerRows) rowFrom(at int64) (row ownerRow, begin, end int64, err error) {
	const little = 512
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, at-1, r.size-at+1), little)
	skipped, err := in.ReadBytes('\n')
	if err != nil {
		return row, 0, 0, errors.Join(errOwners, err)
	}
	begin = at - 1 + int64(len(skipped))
	if begin == r.size {
		return row, begin, begin, nil
	}
	line, err := in.ReadBytes('\n')
	if err != nil {
		return row, 0, 0, errors.Join(errOwners, err)
	}
	end = begin + int64(len(line))
	row, err = r.parse(line, end)
	return row, begin, end, err
}

// read reads the rows from a place where one begins to the first that begins at
// another or after it.
func (r *ownerRows) read(from, to int64) error {
	c := r.from(from)
	r.rows, r.begin = r.rows[:0], from
	for {
		begin := c.at
		row, ok, err := c.next()
		if err != nil {
			r.rows = r.rows[:0]
			return err
		}
		if ok {
			r.rows = append(r.rows, row)
		}
		if !ok || begin >= to {
			break
		}
	}
	r.end = c.at
	return nil
}

// from begins to read rows where one begins.
func (r *ownerRows) from(at int64) *rowReader {
	return &rowReader{rows: r, in: bufio.NewReaderSize(io.NewSectionReader(r.file, at, r.size-at), rowBlock), at: at}
}

type rowReader struct {
	rows *ownerRows
	in   *bufio.Reader
	at   int64 // of what next reads
}

// next gives the next row, if there is one.
func (c *rowReader) next() (row ownerRow, ok bool, err error) {
	if c.at == c.rows.size {
		return row, false, nil
	}
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return row, false, errors.Join(errOwners, err)
	}
	c.at += int64(len(line))
	row, err = c.rows.parse(line, c.at)
	return row, err == nil, err
}

// rowCursor stands before a row, or at the end.
type rowCursor struct {
	from *rowReader
	head ownerRow
	more bool
}

// all stands before the first row.
func (r *ownerRows) all() (c rowCursor, err error) {
	if r == nil {
		return c, nil
	}
	c.from = r.from(0)
	return c, c.advance()
}

func (c *rowCursor) advance() (err error) {
	c.head, c.more, err = c.from.next()
	return err
}

// until calls fn for the rows of lesser paths, and passes over the path's own.
func (c *rowCursor) until(path string, fn func(path, owner string) error) error {
	for c.more && c.head.path < path {
		if err := errors.Join(fn(c.head.path, c.head.owner), c.advance()); err != nil {
			return err
		}
	}
	if c.more && c.head.path == path {
		return c.advance()
	}
	return nil
}

// rest calls fn for the rows that are left.
func (c *rowCursor) rest(fn func(path, owner string) error) error {
	for c.more {
		if err := errors.Join(fn(c.head.path, c.head.owner), c.advance()); err != nil {
			return err
		}
	}
	return nil
}

// parse reads a row from its line, which ends at a place of the file.
func (r *ownerRows) parse(line []byte, end int64) (row ownerRow, err error) {
	line = bytes.TrimPrefix(line, []byte("{"))
	after := ",\n"
	if end == r.size {
		after = "}\n"
	}
	line, ok := bytes.CutSuffix(line, []byte(after))
	line, quoted := bytes.CutPrefix(line, []byte(`"`))
	key, owner, parts := bytes.Cut(line, []byte(`":`))
	if !ok || !quoted || !parts {
		return row, errOwners
	}
	// A key has the two only as part of an escaped quotation mark.
	for bytes.HasSuffix(key, []byte(`\`)) && escapes(key)%2 == 1 {
		more, rest, ok := bytes.Cut(owner, []byte(`":`))
		if !ok {
			return row, errOwners
		}
		key, owner = line[:len(key)+len(`":`)+len(more)], rest
	}
	var name string
	if err := json.Unmarshal(append(append([]byte(`"`), key...), '"'), &name); err != nil {
		return row, errors.Join(errOwners, err)
	}
	row.path, err = pathOf(name)
	row.owner = string(owner)
	return row, err
}

// escapes counts the backslashes at the end.
func escapes(b []byte) int { return len(b) - len(bytes.TrimRight(b, `\`)) }
