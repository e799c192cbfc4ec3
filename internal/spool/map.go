package spool

import "errors"

const (
	// fewNames is how many names are kept in memory before files are made.
	fewNames = 1 << 11
	// mapNames is the number that the keys of a map's names have.
	mapNames = 0
)

// Map leads from names to texts. It isn't for several goroutines.
type Map struct {
	dir string
	few map[string]string
	// many has, once there are too many for memory, 1 and the text of each name,
	// and nothing of one that was deleted; names has both.
	many  *Texts
	names *Paths
	count int
}

// NewMap gives an empty map, which makes its files in dir.
func NewMap(dir string) *Map { return &Map{dir: dir, few: map[string]string{}} }

// Len is how many names there are.
func (m *Map) Len() int {
	if m.many == nil {
		return len(m.few)
	}
	return m.count
}

// Get gives a name's text, and says whether it has one.
func (m *Map) Get(name string) (text string, ok bool, err error) {
	if m.many == nil {
		text, ok = m.few[name]
		return text, ok, nil
	}
	text, _, err = m.many.Get(TextKey(mapNames, name))
	if err != nil || text == "" {
		return "", false, err
	}
	return text[1:], true, nil
}

// Set gives a name its text.
func (m *Map) Set(name, text string) error {
	if m.many != nil {
		return m.set(name, text)
	}
	m.few[name] = text
	if len(m.few) <= fewNames {
		return nil
	}
	few := m.few
	m.few, m.many, m.names = nil, NewTexts(m.dir), NewPaths(m.dir)
	for name, text := range few {
		if err := m.set(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (m *Map) set(name, text string) error {
	k := TextKey(mapNames, name)
	old, listed, err := m.many.Get(k)
	if err != nil {
		return err
	}
	if old == "" {
		m.count++
	}
	if !listed {
		if err := m.names.Add(name); err != nil {
			return err
		}
	}
	return m.many.Set(k, "\x01"+text)
}

// Delete takes a name out, if it is there.
func (m *Map) Delete(name string) error {
	if m.many == nil {
		delete(m.few, name)
		return nil
	}
	k := TextKey(mapNames, name)
	text, _, err := m.many.Get(k)
	if err != nil || text == "" {
		return err
	}
	m.count--
	return m.many.Set(k, "")
}

// Each calls fn for all names, in no order. It may delete names and set those that are
// there.
func (m *Map) Each(fn func(name, text string) error) error {
	if m.many == nil {
		for name, text := range m.few {
			if err := fn(name, text); err != nil {
				return err
			}
		}
		return nil
	}
	return m.names.Each(func(name string) error {
		text, ok, err := m.Get(name)
		if err != nil || !ok {
			return err
		}
		return fn(name, text)
	})
}

// Close gives everything back.
func (m *Map) Close() error {
	m.few = nil
	if m.many == nil {
		return nil
	}
	return errors.Join(m.many.Close(), m.names.Close())
}
