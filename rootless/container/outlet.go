package container

import (
	"os"
	"sync"
)

// outlet is where a client reads what the program prints. A client that doesn't
// read makes the program wait, as a terminal does that is stopped; when the program
// has ended, what is left waits for the client.
type outlet struct {
	to *os.File

	mu      sync.Mutex
	changed *sync.Cond
	pending []byte
	hurry   bool // nobody is to wait for the client any more
	last    bool // nothing follows
	gone    bool // the client reads no more
	ended   chan struct{}
}

// newOutlet gives nil where there is no file.
func newOutlet(to *os.File) *outlet {
	if to == nil {
		return nil
	}
	o := &outlet{to: to, ended: make(chan struct{})}
	o.changed = sync.NewCond(&o.mu)
	go o.drain()
	return o
}

// write has data written, when there is room for it.
func (o *outlet) write(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) >= bufferSize && !o.hurry && !o.gone {
		o.changed.Wait()
	}
	if !o.gone {
		o.pending = append(o.pending, data...)
		o.changed.Broadcast()
	}
}

// drain writes to the client what there is, until the last of it.
func (o *outlet) drain() {
	defer close(o.ended)
	defer func() { _ = o.to.Close() }()
	for {
		o.mu.Lock()
		for len(o.pending) == 0 && !o.last && !o.gone {
			o.changed.Wait()
		}
		data := o.pending
		o.pending = nil
		over := o.gone || len(data) == 0
		o.changed.Broadcast()
		o.mu.Unlock()
		if over {
			return
		}
		if _, err := o.to.Write(data); err != nil {
			o.leave()
		}
	}
}

func (o *outlet) set(to *bool) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	*to = true
	o.changed.Broadcast()
}

// dontWait has the program, which has ended, wait for nobody.
func (o *outlet) dontWait() {
	if o != nil {
		o.set(&o.hurry)
	}
}

// finish says that nothing follows; ended tells when the client has all.
func (o *outlet) finish() {
	if o != nil {
		o.set(&o.last)
	}
}

// leave says that the client reads no more. The file is closed, which ends a
// writing that waits.
func (o *outlet) leave() {
	if o != nil {
		o.set(&o.gone)
		_ = o.to.Close()
	}
}
