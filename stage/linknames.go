package stage

import (
	"errors"

	"github.com/builder-oci/builder/internal/spool"
)

// linkNames finds the names of one file among a selection's entries. There may be
// very many of them, and those that have no other take no room. The zero value has
// none, and keeps its own in the system's directory for such.
type linkNames struct {
	temp string // a directory for what takes more room
	// seen leads from a file to the place of its first name, firsts from the place
	// of each name of a file that has several to that of the first; nil before there
	// is one.
	seen, firsts *spool.Index
	// further is how many names aren't the first of their file.
	further int
}

// isFurther notes an entry, and says whether it is another name of an earlier one.
func (n *linkNames) isFurther(f *File) (bool, error) {
	if f.ID == (FileID{}) {
		return false, nil
	}
	if n.seen == nil {
		n.seen, n.firsts = spool.NewIndex(n.temp), spool.NewIndex(n.temp)
	}
	key := spool.NumberKey(f.ID.Dev, f.ID.Ino)
	first, ok, err := n.seen.Get(key)
	if err != nil {
		return false, err
	}
	if !ok {
		return false, n.seen.Set(key, uint64(f.place))
	}
	n.further++
	if err := n.firsts.Set(placeKey(int(first)), first); err != nil {
		return false, err
	}
	return true, n.firsts.Set(placeKey(f.place), first)
}

// of gives the place of the first name of a file that has several here; that may
// be the entry itself.
func (n *linkNames) of(f *File) (first int, several bool, err error) {
	if f.ID == (FileID{}) || n.further == 0 {
		return 0, false, nil
	}
	place, several, err := n.firsts.Get(placeKey(f.place))
	return int(place), several, err
}

// firstOf is of for further names alone.
func (n *linkNames) firstOf(f *File) (first int, further bool, err error) {
	first, several, err := n.of(f)
	return first, several && first != f.place, err
}

func (n *linkNames) close() error {
	if n.seen == nil {
		return nil
	}
	return errors.Join(n.seen.Close(), n.firsts.Close())
}

func placeKey(place int) spool.Key { return spool.NumberKey(uint64(place), 0) }
