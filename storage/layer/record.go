package layer

import "golang.org/x/sys/unix"

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
func (s *sink) record(path string, e *Entry) error {
	o := Owner{UID: e.UID, GID: e.GID}
	if e.Type != TypeSymlink {
		o.Mode = e.Mode
	}
	if (e.Type == TypeReg || e.Type == TypeDir) && len(e.Xattrs) > 0 {
		o.Xattrs = bytesOf(e.Xattrs)
	}
	if o.isRoot() && len(o.Xattrs) == 0 && (e.Type == TypeSymlink || uint32(e.Mode) == readable(e)) {
		return s.o.Owners.drop(path)
	}
	return s.o.Owners.set(path, o)
}

// linkOwner has a new name of a file say of its owner what the file's other name
// says.
func (s *sink) linkOwner(path, target string) error {
	if s.o.Owners == nil {
		return nil
	}
	o, ok, err := s.o.Owners.Get(target)
	if err != nil {
		return err
	}
	if !ok {
		return s.o.Owners.drop(path)
	}
	return s.o.Owners.set(path, o)
}

// complete gives an entry of an ordinary user's file what the record tells. Without
// one the file is root's, and its mode its own.
func (r *Owners) complete(e *Entry) error {
	o, ok, err := r.Get(e.Path)
	e.UID, e.GID = o.UID, o.GID
	if err != nil || !ok {
		return err
	}
	if e.Type != TypeSymlink {
		e.Mode = o.Mode
	}
	if len(o.Xattrs) > 0 {
		e.Xattrs = textsOf(o.Xattrs)
	}
	return nil
}

// adopt gives an entry the owner that its attributes tell or, where it bears none,
// the record.
func (r *Owners) adopt(e *Entry, x xattrs) error {
	o, ok := x.owner()
	if !ok && bySideRecord(e) {
		var err error
		if o, ok, err = r.Get(e.Path); err != nil {
			return err
		}
	}
	if ok {
		e.UID, e.GID = o.UID, o.GID
	}
	return nil
}

// bytesOf gives attributes as JSON can have them, whose texts are UTF-8.
func bytesOf(xattrs map[string]string) map[string][]byte {
	b := make(map[string][]byte, len(xattrs))
	for name, value := range xattrs {
		b[name] = []byte(value)
	}
	return b
}

func textsOf(xattrs map[string][]byte) map[string]string {
	t := make(map[string]string, len(xattrs))
	for name, value := range xattrs {
		t[name] = string(value)
	}
	return t
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
