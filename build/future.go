package build

import (
	"context"
	"sync"
)

// future is a value that one goroutine works out and any number waits for.
type future[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// start works out a value in a goroutine of its own.
func start[T any](work func() (T, error)) *future[T] {
	f := &future[T]{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.value, f.err = work()
	}()
	return f
}

// wait gives the value when it is there.
func (f *future[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// succeeded says whether the value is there.
func (f *future[T]) succeeded() bool {
	select {
	case <-f.done:
		return f.err == nil
	default:
		return false
	}
}

// once gives the future that m holds for a key, starting it at the first call.
func once[K comparable, T any](b *build, m map[K]*future[T], key K, work func() (T, error)) *future[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := m[key]
	if !ok {
		b.work.Add(1)
		f = start(func() (T, error) {
			defer b.work.Done()
			return work()
		})
		m[key] = f
	}
	return f
}

// signal is sent once, and seen by any number.
type signal struct {
	sent chan struct{}
	send func()
}

func newSignal() *signal {
	sent := make(chan struct{})
	return &signal{sent, sync.OnceFunc(func() { close(sent) })}
}
