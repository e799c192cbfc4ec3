package spool

// pathsBuffer is how much of paths is kept in memory: lists of them come in numbers.
const pathsBuffer = 16 << 10

// Paths is a list of paths, of which neighbours have much in common. It isn't for
// several goroutines.
type Paths struct {
	list   *Spool
	before string
	count  int
	buf    []byte
}

// NewPaths gives an empty list, which makes its file in dir.
func NewPaths(dir string) *Paths {
	return &Paths{list: &Spool{dir: dir, shortest: pathsBuffer, buffer: pathsBuffer}}
}

// Add appends a path.
func (p *Paths) Add(path string) error {
	p.buf = AppendPath(p.buf[:0], p.before, path)
	p.before = path
	p.count++
	_, err := p.list.Write(p.buf)
	return err
}

// Len is how many there are.
func (p *Paths) Len() int { return p.count }

// Each calls fn for all of them, in their order. Nothing may be added meanwhile.
func (p *Paths) Each(fn func(path string) error) error {
	from := NewFields(p.list.Reader())
	for range p.count {
		path := from.Path()
		if err := from.Err(); err != nil {
			return err
		}
		if err := fn(path); err != nil {
			return err
		}
	}
	return nil
}

// Close gives everything back.
func (p *Paths) Close() error { return p.list.Close() }
