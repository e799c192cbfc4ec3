package stage

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// newGroup gives a group of goroutines, one a core, that ends at the first
// error.
func newGroup(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	return g, ctx
}
