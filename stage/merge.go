package stage

import (
	"container/heap"
	"context"
	"iter"

	"github.com/builder-oci/builder/internal/pathorder"
)

// merge puts the entries of several items in one order. Where more than one land
// at a place, the last item's counts.
func (p *placement) merge(ctx context.Context, sel *selection, landings []landing) error {
	if len(landings) == 1 && !landings[0].meets() {
		return landings[0].each(ctx, sel, p.put)
	}
	var m merging
	defer func() {
		for _, c := range m {
			c.stop()
		}
	}()
	for i, l := range landings {
		c := newCursor(ctx, sel, l, i)
		if more, err := c.advance(); err != nil {
			c.stop()
			return err
		} else if more {
			m = append(m, c)
		}
	}
	heap.Init(&m)
	for len(m) > 0 {
		target, f := m[0].target, m[0].file
		if err := m.next(); err != nil {
			return err
		}
		for len(m) > 0 && m[0].target == target {
			if err := p.mayReplace(occupantOf(&f.Entry), target, m[0].file); err != nil {
				return err
			}
			f = m[0].file
			if err := m.next(); err != nil {
				return err
			}
		}
		if err := p.put(target, f); err != nil {
			return err
		}
	}
	return nil
}

// cursor stands at an entry of an item.
type cursor struct {
	item   int
	target string
	file   *File
	pull   func() (string, *File, bool)
	stop   func()
	err    error
}

func newCursor(ctx context.Context, sel *selection, l landing, item int) *cursor {
	c := &cursor{item: item, stop: func() {}}
	c.pull, c.stop = iter.Pull2(func(yield func(string, *File) bool) {
		c.err = l.each(ctx, sel, func(target string, f *File) error {
			if !yield(target, f) {
				return errNoMore
			}
			return nil
		})
	})
	return c
}

// advance goes to the next entry, and says whether there is one.
func (c *cursor) advance() (more bool, err error) {
	c.target, c.file, more = c.pull()
	if !more {
		err = c.err
	}
	return more, err
}

// merging is a heap of cursors, by what they stand at.
type merging []*cursor

func (m merging) Len() int      { return len(m) }
func (m merging) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m merging) Less(i, j int) bool {
	if order := pathorder.Compare(m[i].target, m[j].target); order != 0 {
		return order < 0
	}
	return m[i].item < m[j].item
}

// Push and Pop are for container/heap.
func (m *merging) Push(c any) { *m = append(*m, c.(*cursor)) }

func (m *merging) Pop() any {
	last := len(*m) - 1
	c := (*m)[last]
	*m = (*m)[:last]
	return c
}

// next takes the first cursor on.
func (m *merging) next() error {
	more, err := (*m)[0].advance()
	if err != nil {
		return err
	}
	if more {
		heap.Fix(m, 0)
		return nil
	}
	heap.Pop(m)
	return nil
}
