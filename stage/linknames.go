package stage

import "github.com/builder-oci/builder/internal/spool"

// linkNames finds the names of one file among a selection's entries. There may be
// very many of them, and those of files that have no other, here or elsewhere, take
// no room. The zero value has none.
type linkNames struct {
	temp string // a directory for what takes more room
	// seen leads from a file to the place of its first name; nil before there is one.
	seen *spool.Index
	// further is how many names aren't the first of their file.
	further int
}

// isFurther notes an entry, and says whether it is another name of an earlier one.
func (n *linkNames) isFurther(f *File) (bool, error) {
	if f.ID == (FileID{}) {
		return false, nil
	}
	if n.seen == nil {
		n.seen = spool.NewIndex(n.temp)
	}
	_, ok, err := n.seen.Get(f.ID.key())
	switch {
	case err != nil:
		return false, err
	case ok:
		n.further++
		return true, nil
	}
	return false, n.seen.Set(f.ID.key(), uint64(f.place))
}

// first gives the place of the first name of an entry's file, and says whether
// that may have several here.
func (n *linkNames) first(f *File) (place int, several bool, err error) {
	if f.ID == (FileID{}) || n.further == 0 {
		return f.place, false, nil
	}
	first, ok, err := n.seen.Get(f.ID.key())
	return int(first), ok, err
}

// isAnother is first for those entries alone that are another's further names.
func (n *linkNames) isAnother(f *File) (first int, another bool, err error) {
	first, several, err := n.first(f)
	return first, several && first != f.place, err
}

func (n *linkNames) close() error {
	if n.seen == nil {
		return nil
	}
	return n.seen.Close()
}

func (id FileID) key() spool.Key { return spool.NumberKey(id.Dev, id.Ino) }

func placeKey(place int) spool.Key { return spool.NumberKey(0, uint64(place)) }
