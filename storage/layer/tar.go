package layer

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// blockSize is tar's unit.
const blockSize = 512

// tarWriter writes entries as a canonical tar: the same entries give the same
// bytes, whatever program version or machine writes them. That is why it isn't
// archive/tar, whose choice of headers is Go's to change, and which costs
// several allocations an entry. The form is ustar, with a pax header before
// what ustar can't hold: names that are long or not ASCII (kept raw),
// attributes, large or negative numbers. Times are whole seconds.
type tarWriter struct {
	w     *chunker
	time  TimeRule
	block [blockSize]byte
	count int
}

// add writes one entry with its content.
func (t *tarWriter) add(e *Entry) error {
	if !e.Implied {
		t.count++
	}
	if err := t.header(e); err != nil {
		return err
	}
	if e.Type != TypeReg || e.Size == 0 {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return pathError("open", e.Path, err)
	}
	err = t.w.copy(r, e.Size)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return pathError("read", e.Path, err)
	}
	return t.w.zeros(-e.Size & (blockSize - 1))
}

// end writes the two empty blocks that a tar ends with.
func (t *tarWriter) end() error { return t.w.zeros(2 * blockSize) }

func (t *tarWriter) header(e *Entry) error {
	if hasReserved(e.Path) {
		return reservedName(e.Path)
	}
	mtime, err := t.time.apply(e)
	if err != nil {
		return err
	}
	name := tarName(e)
	h := ustar{
		name: name, link: e.Linkname, typ: e.Type, mode: e.Mode,
		uid: int64(e.UID), gid: int64(e.GID), size: e.Size, mtime: mtime,
		major: e.Devmajor, minor: e.Devminor,
	}
	if e.Whiteout {
		h = ustar{name: name, typ: TypeReg, mtime: t.time.whiteout()}
	}
	if e.Type != TypeReg {
		h.size = 0
	}
	records, err := paxRecords(&h, e)
	if err != nil {
		return err
	}
	if records != "" {
		if err := t.pax(name, records); err != nil {
			return err
		}
	}
	h.put(&t.block)
	return t.w.write(t.block[:])
}

// pax writes an extended header for the entry that follows.
func (t *tarWriter) pax(name, records string) error {
	_, base := split(strings.TrimSuffix(name, "/"))
	h := ustar{name: "PaxHeaders/" + ascii(base), typ: 'x', mode: 0o644, size: int64(len(records))}
	h.put(&t.block)
	if err := t.w.write(t.block[:]); err != nil {
		return err
	}
	if err := t.w.write([]byte(records)); err != nil {
		return err
	}
	return t.w.zeros(-int64(len(records)) & (blockSize - 1))
}

// tarName is how tar writes an entry's path: directories end with a slash, and
// a deleted name becomes a file with a prefix.
func tarName(e *Entry) string {
	switch {
	case e.Whiteout:
		dir, base := split(e.Path)
		return join(dir, whPrefix+base)
	case e.Path == "":
		return "./"
	case e.Type == TypeDir:
		return e.Path + "/"
	}
	return e.Path
}

// ustar is a header whose fields fit.
type ustar struct {
	name, link            string
	typ                   byte
	mode, uid, gid, mtime int64
	size, major, minor    int64
}

// The largest numbers that fit octal fields of 8 and 12 bytes.
const (
	maxOctal8  = 1<<21 - 1
	maxOctal12 = 1<<33 - 1
)

// paxRecords gives what h can't hold, sorted by keyword, and makes h fit.
func paxRecords(h *ustar, e *Entry) (string, error) {
	var list []string
	number := func(key string, v *int64, limit int64) {
		if *v < 0 || *v > limit {
			list = append(list, paxRecord(key, strconv.FormatInt(*v, 10)))
			*v = 0
		}
	}
	text := func(key string, s *string) {
		if a := ascii(*s); len(*s) > 100 || a != *s {
			list = append(list, paxRecord(key, *s))
			*s = a
		}
	}
	number("gid", &h.gid, maxOctal8)
	text("linkpath", &h.link)
	number("mtime", &h.mtime, maxOctal12)
	text("path", &h.name)
	if len(e.Xattrs) > 0 {
		names := make([]string, 0, len(e.Xattrs))
		for name := range e.Xattrs {
			if strings.ContainsAny(name, "=\x00") {
				return "", fault.New("remove it in the same RUN: setfattr -x '"+name+"' /"+e.Path,
					"/%s has the extended attribute %q: no tar can carry a name with \"=\"", e.Path, name)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			list = append(list, paxRecord("SCHILY.xattr."+name, e.Xattrs[name]))
		}
	}
	number("size", &h.size, maxOctal12)
	number("uid", &h.uid, maxOctal8)
	if h.major > maxOctal8 || h.minor > maxOctal8 {
		return "", fmt.Errorf("/%s: device number %d:%d is too large", e.Path, h.major, h.minor)
	}
	return strings.Join(list, ""), nil
}

// paxRecord is "LENGTH KEY=VALUE\n", where the length counts its own digits.
func paxRecord(key, value string) string {
	size := len(key) + len(value) + len(" =\n")
	total := size + len(strconv.Itoa(size))
	if total != size+len(strconv.Itoa(total)) {
		total++
	}
	return strconv.Itoa(total) + " " + key + "=" + value + "\n"
}

// ascii is s where it is ASCII, else s with everything else replaced.
func ascii(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			b := []byte(s)
			for j := range b {
				if b[j] >= 0x80 {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return s
}

// put fills block. Names that are too long are cut: a pax header has them.
func (h *ustar) put(block *[blockSize]byte) {
	clear(block[:])
	copy(block[0:100], h.name)
	octal(block[100:108], h.mode)
	octal(block[108:116], h.uid)
	octal(block[116:124], h.gid)
	octal(block[124:136], h.size)
	octal(block[136:148], h.mtime)
	block[156] = h.typ
	copy(block[157:257], h.link)
	copy(block[257:265], "ustar\x0000")
	octal(block[329:337], h.major)
	octal(block[337:345], h.minor)
	copy(block[148:156], "        ")
	sum := int64(0)
	for _, b := range block {
		sum += int64(b)
	}
	octal(block[148:155], sum)
}

// octal fills field with digits and a zero byte.
func octal(field []byte, v int64) {
	last := len(field) - 1
	field[last] = 0
	for i := last - 1; i >= 0; i-- {
		field[i] = '0' + byte(v&7)
		v >>= 3
	}
}

// TimeRule says which times of change a tar gets. It changes neither what
// stands in a layer nor the tree.
type TimeRule struct {
	// Mode is "" to keep the times, TimeClamp, or TimeExact.
	Mode string
	// Epoch is the time in seconds since 1970 that the modes refer to.
	Epoch int64

	// foreign are [PackOptions.Foreign], while a layer is packed.
	foreign *Times
}

// The modes of a [TimeRule].
const (
	// TimeClamp brings times later than the epoch, and [PackOptions.Foreign],
	// to it.
	TimeClamp = "clamp"
	// TimeExact sets all times to the epoch.
	TimeExact = "exact"
)

// apply gives an entry's time in seconds. With an epoch, a time that the step
// didn't set itself becomes the epoch as well: it may be one machine's
// checkout's, which an earlier step brought into the tree.
func (r TimeRule) apply(e *Entry) (int64, error) {
	if r.Mode == TimeClamp && (e.Implied || e.timeKept) {
		return r.Epoch, nil
	}
	return r.of(e.ModTime)
}

func (r TimeRule) of(t time.Time) (int64, error) {
	sec := t.Unix()
	switch {
	case r.Mode == TimeExact, r.Mode == TimeClamp && sec > r.Epoch:
		return r.Epoch, nil
	case r.Mode != TimeClamp:
		return sec, nil
	}
	foreign, err := r.foreign.has(t)
	if foreign {
		sec = r.Epoch
	}
	return sec, err
}

// whiteout is the time of a deletion, which no file system keeps.
func (r TimeRule) whiteout() int64 { return 0 }

// errShrank says that a file changed its size while it was read.
var errShrank = fmt.Errorf("the file became shorter while it was read: %w", io.ErrUnexpectedEOF)
