package layer

import (
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/spool"
)

// lateDir is what a directory gets when all else is written. Before that it
// is writable and nobody else's, and writing in it moves its time. There may be
// many, so that it isn't a whole Entry.
type lateDir struct {
	time time.Time
	// timeOnly leaves all but the time as it is.
	timeOnly bool
	mode     int64
	uid, gid uint32
	xattrs   map[string]string
}

// entry is what it gets, as an entry.
func (d lateDir) entry(path string) *Entry {
	return &Entry{
		Path: path, Type: TypeDir, Mode: d.mode, UID: d.uid, GID: d.gid, ModTime: d.time, Xattrs: d.xattrs,
	}
}

// keepTime has a directory get back the time that it has now, if nothing else
// is due to it.
func (s *sink) keepTime(path string, fd int) error {
	if _, ok := s.late[path]; ok {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	s.late[path] = lateDir{timeOnly: true, time: time.Unix(st.Mtim.Unix())}
	return nil
}

// setLate says what a directory gets in the end.
func (s *sink) setLate(path string, e *Entry) error {
	s.late[path] = lateDir{time: e.ModTime, mode: e.Mode, uid: e.UID, gid: e.GID, xattrs: e.Xattrs}
	if s.aside == nil {
		return nil
	}
	return s.aside.Delete(path)
}

// forgetLate drops what is due to a directory and those in it.
func (s *sink) forgetLate(path string) error {
	for p := range s.late {
		if within(p, path) {
			delete(s.late, p)
		}
	}
	return deleteWithin(s.aside, path)
}

// finishSome finishes the directories that can be written into all the same, and then
// get their times back. Those whose group or attributes pass to new files are put
// aside.
func (s *sink) finishSome() error {
	for path, d := range s.late {
		if path == "" || d.timeOnly || d.mode&unix.S_ISGID == 0 && len(d.xattrs) == 0 {
			continue
		}
		if err := s.putAside(path, d); err != nil {
			return err
		}
	}
	root, due := s.late[""]
	delete(s.late, "")
	err := s.finishLate()
	if due {
		s.late[""] = root
	}
	return err
}

// savedLate is a lateDir outside of memory.
type savedLate struct {
	Sec      int64
	Nsec     int
	Mode     int64
	UID, GID uint32
	Xattrs   map[string][]byte `json:",omitempty"`
}

func (s *sink) putAside(path string, d lateDir) error {
	if s.aside == nil {
		s.aside = spool.NewMap(s.o.Temp)
	}
	saved := savedLate{
		Sec: d.time.Unix(), Nsec: d.time.Nanosecond(), Mode: d.mode, UID: d.uid, GID: d.gid,
		Xattrs: bytesOf(d.xattrs),
	}
	text, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	delete(s.late, path)
	return s.aside.Set(path, string(text))
}

func readLate(text string) (lateDir, error) {
	var saved savedLate
	err := json.Unmarshal([]byte(text), &saved)
	return lateDir{
		time: time.Unix(saved.Sec, int64(saved.Nsec)), mode: saved.Mode, uid: saved.UID, gid: saved.GID,
		xattrs: textsOf(saved.Xattrs),
	}, err
}

// finish gives the directories what is due to them.
func (s *sink) finish() error {
	if err := s.finishLate(); err != nil || s.aside == nil {
		return err
	}
	err := s.aside.Each(func(path, text string) error {
		d, err := readLate(text)
		if err != nil {
			return err
		}
		// Whatever is opened on the way has its time.
		if len(s.fds) > maxSinkFDs {
			s.closeDirs("")
			clear(s.late)
		}
		return s.finishAt(path, d)
	})
	s.closeDirs("")
	clear(s.late)
	err = errors.Join(err, s.aside.Close())
	s.aside = nil
	return err
}

// finishLate does it for those in memory.
func (s *sink) finishLate() error {
	done := make([]string, 0, len(s.late))
	for path := range s.late {
		done = append(done, path)
	}
	for _, path := range done {
		if len(s.fds) > maxSinkFDs {
			s.closeDirs("")
		}
		if err := s.finishAt(path, s.late[path]); err != nil {
			return err
		}
	}
	s.closeDirs("") // each is in late as long as it is open
	for _, path := range done {
		delete(s.late, path)
	}
	return nil
}

func (s *sink) finishAt(path string, d lateDir) error {
	fd, err := s.open(path)
	if err == nil {
		err = s.finishDir(fd, path, d)
	}
	return pathError("write", path, err)
}

func (s *sink) finishDir(fd int, path string, d lateDir) error {
	if !d.timeOnly {
		e := d.entry(path)
		if err := s.dropXattrs(fd, e); err != nil {
			return err
		}
		if err := s.ownFD(fd, path, e); err != nil {
			return err
		}
		if err := unix.Fchmod(fd, s.mode(e)); err != nil {
			return err
		}
	}
	return setTime(fd, ".", d.time)
}

// dropXattrs takes off a directory the attributes that it shall not have.
func (s *sink) dropXattrs(fd int, e *Entry) error {
	if s.o.Unprivileged {
		return nil // they are in the record, which is written anew
	}
	x, err := xattrsOfFD(fd)
	if err != nil {
		return err
	}
	for name := range x.kept {
		if _, ok := e.Xattrs[name]; ok {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil {
			return err
		}
	}
	return nil
}
