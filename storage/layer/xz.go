package layer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/builder-oci/builder/internal/fault"
)

// xzGuard passes an xz stream on, and ends it with an error before a block
// whose dictionary is larger than [maxWindow]. The decompressor has no limit of
// its own: it takes 4 GiB at once for a stream of 30 bytes that says so. It also
// takes a stream that is cut between two blocks for whole, which it isn't.
//
// To find the blocks, the guard follows the format (The .xz File Format 1.1.0;
// of LZMA2 the chunks' headers) from piece to piece, and checks nothing else.
type xzGuard struct {
	r *bufio.Reader
	// next looks at the piece that follows and sets its length; it changes
	// with what may come after.
	next func() error
	left int64 // of the piece
	// check is the length of a block's check sum.
	check int64
	// size is that of a block's data so far, or of an index.
	size int64
	// numbers are those of an index that are still to come.
	numbers uint64
}

func newXZGuard(r *bufio.Reader) *xzGuard {
	g := &xzGuard{r: r}
	g.next = g.stream
	return g
}

func (g *xzGuard) Read(p []byte) (int, error) {
	for g.left == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n, err := g.r.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	return n, noEOF(err)
}

// peek looks at what the stream must still have.
func (g *xzGuard) peek(n int) ([]byte, error) {
	b, err := g.r.Peek(n)
	return b, noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// piece says how long the piece is, and what follows it.
func (g *xzGuard) piece(length int64, next func() error) error {
	g.left, g.next = length, next
	return nil
}

const (
	xzHeader = 12 // bytes of a stream's header, and of its footer
	xzCRC    = 4
)

// stream comes to the beginning of a stream, to zeros between two, or to the
// end of all.
func (g *xzGuard) stream() error {
	if _, err := g.r.Peek(1); err != nil {
		return err
	}
	b, err := g.peek(4)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) == 0 {
		return g.piece(4, g.stream)
	}
	if b, err = g.peek(xzHeader); err != nil {
		return err
	}
	// The kinds of check sums come in threes of one length: 4, 8, 16, 32, 64.
	if g.check = 0; b[7]&15 > 0 {
		g.check = 4 << ((b[7]&15 - 1) / 3)
	}
	return g.piece(xzHeader, g.block)
}

// block comes to a block's header, or to the index after the last block.
func (g *xzGuard) block() error {
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	g.size = 0
	if b[0] == 0 {
		g.size = 1
		return g.piece(1, g.index)
	}
	size := 4 * (int(b[0]) + 1)
	if b, err = g.peek(size); err != nil {
		return err
	}
	dictionary, err := xzDictionary(b)
	if err != nil {
		return err
	}
	if dictionary > maxWindow {
		return fault.New("compress it again with a smaller one: xz -9 takes 64 MiB",
			"the xz stream needs a dictionary of %d MiB: at most %d are given", dictionary>>20, maxWindow>>20)
	}
	return g.piece(int64(size), g.chunk)
}

// xzDictionary reads the size of the dictionary out of a block's header: size,
// flags, possibly the block's two lengths, the filters, padding, check sum. Of
// filters the decompressor knows LZMA2 alone.
func xzDictionary(head []byte) (int64, error) {
	flags, rest := head[1], head[2:len(head)-xzCRC]
	for _, flag := range []byte{0x40, 0x80} {
		if flags&flag != 0 {
			_, n := binary.Uvarint(rest)
			rest = rest[max(n, 0):]
		}
	}
	if flags&3 != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 {
		return 0, errors.New("xz: a filter other than LZMA2")
	}
	switch code := rest[2]; {
	case code > 40:
		return 0, fmt.Errorf("xz: dictionary of the unknown size %d", code)
	case code == 40:
		return 1<<32 - 1, nil
	default:
		return int64(2|code&1) << (code/2 + 11), nil
	}
}

// chunk comes to one of the chunks that LZMA2 parts a block into: its kind,
// lengths less one, properties with some kinds, data. A zero ends them; the
// block is padded to four bytes and ends with the check sum.
func (g *xzGuard) chunk() error {
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	kind := b[0]
	if kind == 0 {
		return g.piece(1+-(g.size+1)&3+g.check, g.block)
	}
	head := 3
	if kind >= 0x80 {
		head = 5
	} else if kind > 2 {
		return fmt.Errorf("xz: chunk of the unknown kind %d", kind)
	}
	if b, err = g.peek(head); err != nil {
		return err
	}
	length := int64(head) + int64(binary.BigEndian.Uint16(b[head-2:])) + 1
	if kind >= 0xc0 {
		length++
	}
	g.size += length
	return g.piece(length, g.chunk)
}

// index comes to the number of an index's records, each of which is two more
// numbers.
func (g *xzGuard) index() error {
	count, length, err := g.number()
	if err != nil {
		return err
	}
	if count > 1<<60 {
		return errors.New("xz: malformed index")
	}
	g.numbers = 2 * count
	return g.piece(length, g.record)
}

// record comes to a number of the index, or to its end: padding to four bytes,
// its check sum, and the stream's footer.
func (g *xzGuard) record() error {
	if g.numbers == 0 {
		return g.piece(-g.size&3+xzCRC+xzHeader, g.stream)
	}
	g.numbers--
	_, length, err := g.number()
	if err != nil {
		return err
	}
	return g.piece(length, g.record)
}

// number looks at a number of the index. It has 9 bytes at most, and more than
// that follow in any case.
func (g *xzGuard) number() (v uint64, length int64, err error) {
	b, err := g.peek(9)
	if err != nil {
		return 0, 0, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, errors.New("xz: malformed index")
	}
	g.size += int64(n)
	return v, int64(n), nil
}
