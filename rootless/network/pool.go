package network

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Pool keeps private network namespaces for a build: one for each sandbox
// that runs at the same time, used again by the next when its processes have
// ended. It is safe for concurrent use.
type Pool struct {
	dir, helper string
	dns         DNS

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	making sync.WaitGroup

	mu     sync.Mutex
	all    []*Namespace
	idle   []*Namespace
	coming []chan made // namespaces that are being prepared
}

type made struct {
	ns  *Namespace
	err error
}

// NewPool makes an empty pool. Its arguments are those of [Begin].
func NewPool(dir, helper string, dns DNS) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{dir: dir, helper: helper, dns: dns, ctx: ctx, cancel: cancel}
}

// Prepare begins to make n namespaces and returns at once. An error is told by
// the Acquire that would have got the namespace.
func (p *Pool) Prepare(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		p.coming = append(p.coming, p.make())
	}
}

// Acquire gives a namespace that nobody else uses: an idle one, else one that
// is being prepared, else a new one. Those whose helper has died meanwhile are
// passed over and removed.
func (p *Pool) Acquire(ctx context.Context) (*Namespace, error) {
	for {
		ns, isNew, err := p.next(ctx)
		if err != nil {
			return nil, err
		}
		lost := ns.Lost()
		if lost == nil {
			return ns, nil
		}
		err = p.remove(ns)
		if isNew { // another would fare no better
			return nil, errors.Join(lost, err)
		}
	}
}

// next gives the next namespace in Acquire's order, and tells whether it was
// made for this call.
func (p *Pool) next(ctx context.Context) (ns *Namespace, isNew bool, err error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		ns := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return ns, false, nil
	}
	var coming chan made
	if isNew = len(p.coming) == 0; isNew {
		coming = p.make()
	} else {
		coming, p.coming = p.coming[0], p.coming[1:]
	}
	p.mu.Unlock()
	ns, err = p.take(ctx, coming)
	return ns, isNew, err
}

// AcquireFresh gives a namespace that no other sandbox has used or will use,
// for one with more capabilities than usual, which could leave it changed.
func (p *Pool) AcquireFresh(ctx context.Context) (*Namespace, error) {
	p.mu.Lock()
	next := p.make()
	p.mu.Unlock()
	ns, err := p.take(ctx, next)
	if ns != nil {
		ns.fresh = true
	}
	return ns, err
}

// Release gives a namespace back. All processes in it must have ended. The
// error tells, as [Namespace.Lost] does, that its helper has ended before: then
// whoever was in it was without a network for some time.
func (p *Pool) Release(ns *Namespace) error {
	lost := ns.Lost()
	if lost != nil || ns.fresh {
		return errors.Join(lost, p.remove(ns))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, ns)
	return nil
}

// remove closes a namespace that nobody uses.
func (p *Pool) remove(ns *Namespace) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, func(have *Namespace) bool { return have == ns })
	return ns.Close()
}

// Close ends every helper and removes every namespace, those in use included,
// and returns when nothing is left.
func (p *Pool) Close() error {
	p.cancel()
	p.making.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, ns := range p.all {
		errs = append(errs, ns.Close())
	}
	p.all, p.idle, p.coming = nil, nil, nil
	return errors.Join(errs...)
}

// make begins to make one namespace; the channel gives it when it is ready.
// The caller holds the lock.
func (p *Pool) make() chan made {
	result := make(chan made, 1)
	if p.ctx.Err() != nil {
		result <- made{nil, errors.New("the network pool is closed")}
		return result
	}
	p.making.Add(1)
	go func() {
		defer p.making.Done()
		ns, err := createForBuild(p.ctx, p.dir, p.helper, p.dns)
		if err == nil {
			p.mu.Lock()
			p.all = append(p.all, ns)
			p.mu.Unlock()
		}
		result <- made{ns, err}
	}()
	return result
}

// take waits for a namespace that is being made. One that comes too late goes
// to the next who asks.
func (p *Pool) take(ctx context.Context, next chan made) (*Namespace, error) {
	select {
	case m := <-next:
		return m.ns, m.err
	case <-ctx.Done():
		p.mu.Lock()
		p.coming = append(p.coming, next)
		p.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}

// createForBuild makes a namespace for a build.
func createForBuild(ctx context.Context, dir, wanted string, dns DNS) (*Namespace, error) {
	usable := helpers(wanted, quick)
	if len(usable) == 0 {
		return nil, errNoHelper(wanted)
	}
	pending, err := begin(ctx, dir, dns, nil, usable)
	if err != nil {
		return nil, err
	}
	return pending.Ready(ctx)
}
