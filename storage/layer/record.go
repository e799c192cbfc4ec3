package layer

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// What an ordinary user needs to read his own files back, and to remove them.
const (
	readableFile = 0o600
	readableDir  = 0o700
)

// mode gives the bits that a file or directory gets on disk. An ordinary user's has
// those that he needs, and none that would let others act as him.
func (s *sink) mode(e *Entry) uint32 {
	if !s.o.Unprivileged {
		return uint32(e.Mode)
	}
	return readable(e)
}

func readable(e *Entry) uint32 {
	if e.Type == TypeDir {
		return uint32(e.Mode)&0o777 | readableDir
	}
	return uint32(e.Mode)&0o777 | readableFile
}

// record notes all that an ordinary user can't give the file at path, and forgets
// what was noted of another one there.
func (s *sink) record(path string, e *Entry) {
	o := Owner{UID: e.UID, GID: e.GID}
	if e.Type != TypeSymlink {
		o.Mode = e.Mode
	}
	if (e.Type == TypeReg || e.Type == TypeDir) && len(e.Xattrs) > 0 {
		o.Xattrs = make(map[string][]byte, len(e.Xattrs))
		for name, value := range e.Xattrs {
			o.Xattrs[name] = []byte(value)
		}
	}
	if o.isRoot() && len(o.Xattrs) == 0 && (e.Type == TypeSymlink || uint32(e.Mode) == readable(e)) {
		delete(s.o.Owners, path)
		return
	}
	s.o.Owners[path] = o
}

// linkOwner has a new name of a file say of its owner what the file's other name
// says.
func (s *sink) linkOwner(path, target string) {
	if s.o.Owners == nil {
		return
	}
	if o, ok := s.o.Owners[target]; ok {
		s.o.Owners[path] = o
	} else {
		delete(s.o.Owners, path)
	}
}

// complete gives an entry of an ordinary user's file what the record tells. Without
// one the file is root's, and its mode its own.
func (r Owners) complete(e *Entry) {
	o, ok := r[e.Path]
	e.UID, e.GID = o.UID, o.GID
	if !ok {
		return
	}
	if e.Type != TypeSymlink {
		e.Mode = o.Mode
	}
	if len(o.Xattrs) > 0 {
		e.Xattrs = make(map[string]string, len(o.Xattrs))
		for name, value := range o.Xattrs {
			e.Xattrs[name] = string(value)
		}
	}
}

// markOpaque has a directory of flavor [Stacked] hide what lies below it: by the
// name that tars have for that, which any file system can hold.
func markOpaque(fd int) error {
	marker, err := openat(fd, whOpaque, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, readableFile)
	if err != nil {
		return err
	}
	return unix.Close(marker)
}

// rawKey begins the key of a path that isn't UTF-8, and so no text of JSON: no path
// can begin with it.
const rawKey = "\x00"

// Write writes an object of JSON by paths, one after the other. Those that aren't
// UTF-8 are in base64.
func (r Owners) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	before := "{"
	for _, path := range slices.Sorted(maps.Keys(r)) {
		key := path
		if !utf8.ValidString(path) {
			key = rawKey + base64.StdEncoding.EncodeToString([]byte(path))
		}
		name, err := json.Marshal(key)
		if err != nil {
			return err
		}
		value, err := json.Marshal(r[path])
		if err != nil {
			return err
		}
		for _, part := range [][]byte{[]byte(before), name, {':'}, value} {
			_, _ = out.Write(part) // Flush tells
		}
		before = ",\n"
	}
	if len(r) == 0 {
		_, _ = out.WriteString(before)
	}
	_, _ = out.WriteString("}\n")
	return out.Flush()
}

// ReadOwners reads what Write wrote, to its end.
func ReadOwners(in io.Reader) (Owners, error) {
	d := json.NewDecoder(in)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errOwners, err)
	}
	r := Owners{}
	for d.More() {
		t, err := d.Token()
		path, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.Join(errOwners, err)
		}
		if encoded, ok := strings.CutPrefix(path, rawKey); ok {
			raw, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				return nil, errOwners
			}
			path = string(raw)
		}
		var o Owner
		if err := d.Decode(&o); err != nil {
			return nil, errors.Join(errOwners, err)
		}
		r[path] = o
	}
	if _, err := d.Token(); err != nil { // the closing one
		return nil, errors.Join(errOwners, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errOwners
	}
	return r, nil
}

var errOwners = errors.New("the record of owners is damaged")
