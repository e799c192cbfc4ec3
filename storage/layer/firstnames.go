package layer

import "github.com/builder-oci/builder/internal/spool"

// firstNames has the first name of each file that may have several. There may be very
// many of them, as where a package manager links what it has in store.
type firstNames struct {
	dir   string
	texts *spool.Texts // nil while there are none
}

func newFirstNames(dir string) *firstNames { return &firstNames{dir: dir} }

// of gives the first name of a file: the given one, if it has none yet.
func (n *firstNames) of(file spool.Key, name string) (first string, err error) {
	first, ok, err := n.get(file)
	if err != nil || ok {
		return first, err
	}
	return name, n.set(file, name)
}

func (n *firstNames) get(file spool.Key) (name string, ok bool, err error) {
	if n.texts == nil {
		return "", false, nil
	}
	return n.texts.Get(file)
}

func (n *firstNames) set(file spool.Key, name string) error {
	if n.texts == nil {
		n.texts = spool.NewTexts(n.dir)
	}
	return n.texts.Set(file, name)
}

func (n *firstNames) close() {
	if n.texts != nil {
		_ = n.texts.Close() // nobody reads it any more
	}
}
