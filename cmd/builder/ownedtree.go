package main

import (
	"context"
	"errors"
	"sync"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/snapshot"
)

// ownedTree is a container's tree, and what makes programs over it: with a single
// id, the owners that these give to links and special files are on record beside it.
type ownedTree struct {
	*snapshot.Active
	runtime container.Runtime

	mu       sync.Mutex
	programs []*sandbox.Program
}

// Create is container.Runtime's.
func (t *ownedTree) Create(ctx context.Context, s sandbox.Spec) (*sandbox.Program, error) {
	s.Recorded, s.Temp = stage.RecordedOwner(t.Active), t.Temp()
	// What the last program has set the next one sees.
	if err := t.note(); err != nil {
		return nil, err
	}
	p, err := t.runtime.Create(ctx, s)
	if err == nil && s.EmulateIDs {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.programs = append(t.programs, p)
	}
	return p, err
}

// Release is container.Root's.
func (t *ownedTree) Release() error { return errors.Join(t.Active.Release(), t.note()) }

// note puts on record what the programs have set, which have ended.
func (t *ownedTree) note() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs error
	for _, p := range t.programs {
		exit, _ := p.Wait() // its error is the monitor's
		errs = errors.Join(errs, stage.NoteOwners(t.Active, exit.IDs))
	}
	t.programs = nil
	return errs
}
