package emulate

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// caller is one call that waits for its answer.
type caller struct {
	s   *Supervisor
	n   *notifier
	req *request
	abi *abi
	p   *process
	err error // the first of reading or writing its memory
}

// arg is an argument that is a number or an address.
func (c *caller) arg(i int) uint64 { return c.req.Args[i] }

// id is an argument that is a user or group.
func (c *caller) id(i int) uint32 { return uint32(c.req.Args[i]) }

// ids are the first arguments, all of which are.
func (c *caller) ids(n int) (ids []uint32) {
	for i := range n {
		ids = append(ids, c.id(i))
	}
	return ids
}

// fd is an argument that is a descriptor.
func (c *caller) fd(i int) int { return int(int32(c.req.Args[i])) }

func (c *caller) tid() int { return int(c.req.PID) }

// still tells whether what was read of the caller can be relied on.
func (c *caller) still() bool { return c.err == nil && c.n.valid(c.req) }

const pageSize = 4096

// path reads a path, which is as long as the kernel takes.
func (c *caller) path(i int) string {
	addr, buf := c.arg(i), make([]byte, 0, unix.PathMax)
	for len(buf) < unix.PathMax {
		// What lies behind the path's page may not be there.
		part := buf[len(buf):min(unix.PathMax, len(buf)+pageSize-int(addr%pageSize))]
		n, err := c.read(addr, part)
		if err != nil || n == 0 {
			c.fail(unix.EFAULT)
			return ""
		}
		if end := bytes.IndexByte(part[:n], 0); end >= 0 {
			return string(buf[:len(buf)+end])
		}
		buf, addr = buf[:len(buf)+n], addr+uint64(n)
	}
	c.fail(unix.ENAMETOOLONG)
	return ""
}

func (c *caller) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *caller) read(addr uint64, into []byte) (int, error) {
	local := unix.Iovec{Base: &into[0]}
	local.SetLen(len(into))
	return unix.ProcessVMReadv(c.tid(), []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(into)}}, 0)
}

// write puts data at an address.
func (c *caller) write(addr uint64, data []byte) {
	if len(data) == 0 || c.err != nil {
		return
	}
	local := unix.Iovec{Base: &data[0]}
	local.SetLen(len(data))
	n, err := unix.ProcessVMWritev(c.tid(), []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(data)}}, 0)
	if err != nil || n != len(data) {
		c.fail(unix.EFAULT)
	}
}

// readIDs reads n ids from where argument i points to.
func (c *caller) readIDs(i, n int) []uint32 {
	if n == 0 {
		return nil
	}
	buf := make([]byte, 4*n)
	if got, err := c.read(c.arg(i), buf); err != nil || got != len(buf) {
		c.fail(unix.EFAULT)
		return nil
	}
	ids := make([]uint32, n)
	for j := range ids {
		ids[j] = binary.NativeEndian.Uint32(buf[4*j:])
	}
	return ids
}

func (c *caller) writeIDs(i int, ids ...uint32) {
	var buf []byte
	for _, id := range ids {
		buf = binary.NativeEndian.AppendUint32(buf, id)
	}
	c.write(c.arg(i), buf)
}

// written is the answer to a call that only fills memory.
func (c *caller) written(n int64) answer {
	if c.err != nil {
		return done(c.err)
	}
	return value(n)
}
