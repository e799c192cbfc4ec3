package layer

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
)

const (
	// chunkSize is large enough that handing one over costs nothing beside
	// what is done with it, and fits a core's second-level cache.
	chunkSize = 512 << 10
	// chunkCount bounds how far the reader can run ahead.
	chunkCount = 6
)

// chunk is a piece of a tar that several goroutines read at the same time.
type chunk struct {
	buf  []byte
	n    int
	refs atomic.Int32
	home chan<- *chunk
}

func (c *chunk) bytes() []byte { return c.buf[:c.n] }

// release gives the chunk back; the last one to do so makes it free.
func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		c.home <- c
	}
}

// chunker cuts a stream into chunks and gives each to all consumers. Only one
// goroutine may write.
type chunker struct {
	ctx   context.Context
	free  chan *chunk
	outs  []chan *chunk
	cur   *chunk
	total int64
}

func newChunker(ctx context.Context) *chunker {
	c := &chunker{ctx: ctx, free: make(chan *chunk, chunkCount)}
	for range chunkCount {
		c.free <- &chunk{home: c.free}
	}
	return c
}

// consumer adds a reader of the stream. It must drain the channel, or end the
// chunker's context, and release what it gets.
func (c *chunker) consumer() <-chan *chunk {
	out := make(chan *chunk, chunkCount)
	c.outs = append(c.outs, out)
	return out
}

// space gives room to write to, at least one byte.
func (c *chunker) space() ([]byte, error) {
	if c.cur != nil && c.cur.n == chunkSize {
		c.send()
	}
	if c.cur == nil {
		select {
		case c.cur = <-c.free:
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
		if c.cur.buf == nil {
			c.cur.buf = make([]byte, chunkSize)
		}
		c.cur.n = 0
	}
	return c.cur.buf[c.cur.n:], nil
}

// send hands the current chunk over. The channels hold as many as there are,
// so it never waits.
func (c *chunker) send() {
	c.cur.refs.Store(int32(len(c.outs)))
	c.total += int64(c.cur.n)
	for _, out := range c.outs {
		out <- c.cur
	}
	c.cur = nil
}

// flush hands over what is there.
func (c *chunker) flush() error {
	if c.cur != nil && c.cur.n > 0 {
		c.send()
	}
	return c.ctx.Err()
}

// close ends the stream.
func (c *chunker) close() {
	for _, out := range c.outs {
		close(out)
	}
}

func (c *chunker) write(p []byte) error {
	for len(p) > 0 {
		room, err := c.space()
		if err != nil {
			return err
		}
		n := copy(room, p)
		c.cur.n += n
		p = p[n:]
	}
	return nil
}

func (c *chunker) zeros(n int64) error {
	for n > 0 {
		room, err := c.space()
		if err != nil {
			return err
		}
		if int64(len(room)) > n {
			room = room[:n]
		}
		clear(room)
		c.cur.n += len(room)
		n -= int64(len(room))
	}
	return nil
}

// copy takes exactly n bytes of r. Nothing beyond them is read.
func (c *chunker) copy(r io.Reader, n int64) error {
	for n > 0 {
		room, err := c.space()
		if err != nil {
			return err
		}
		if int64(len(room)) > n {
			room = room[:n]
		}
		got, err := r.Read(room)
		c.cur.n += got
		n -= int64(got)
		if n > 0 && errors.Is(err, io.EOF) {
			return errShrank
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}
