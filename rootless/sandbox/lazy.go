package sandbox

import (
	"context"
	"sync"
)

// Lazy gives a [Sandbox] that is opened when the first program is to be run, so
// that what it lacks is an error of that program, and of nothing before.
func Lazy(open func() (Sandbox, error)) Sandbox {
	return lazy(sync.OnceValues(open))
}

type lazy func() (Sandbox, error)

// Run implements [Sandbox].
func (open lazy) Run(ctx context.Context, s Spec) (Exit, error) {
	opened, err := open()
	if err != nil {
		return Exit{}, err
	}
	return opened.Run(ctx, s)
}
