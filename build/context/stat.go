package context

import "golang.org/x/sys/unix"

// Stat is what is kept of an entry's stat data: there may be very many of them.
type Stat struct {
	Mode, UID, GID uint32
	linked         bool // it has more than one name
	Size           int64
	Ino, Dev       uint64
	Mtim, Ctim     unix.Timespec
}

func statOf(st *unix.Stat_t) Stat {
	return Stat{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, linked: st.Nlink > 1, Size: st.Size,
		Ino: st.Ino, Dev: uint64(st.Dev), Mtim: st.Mtim, Ctim: st.Ctim, //nolint:unconvert // 32 bits wide on some machines
	}
}

// Full gives the data in the system's form. Of the names there are two, where there
// are more than one.
func (s *Stat) Full() *unix.Stat_t {
	st := &unix.Stat_t{Mode: s.Mode, Uid: s.UID, Gid: s.GID, Nlink: 1, Size: s.Size, Ino: s.Ino, Mtim: s.Mtim, Ctim: s.Ctim}
	if s.linked {
		st.Nlink = 2
	}
	widen(&st.Dev, s.Dev)
	return st
}

// widen sets a number that is 32 bits wide on some machines.
func widen[T uint32 | uint64](to *T, n uint64) { *to = T(n) }
