package storage

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/lease"
	"github.com/builder-oci/builder/storage/lock"
)

// BeginLeases makes the store's holder one who says what it uses, by Lease. From
// here on all else may be pruned beside it.
func (s *Store) BeginLeases() error {
	session, err := s.Session()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases != nil {
		return nil
	}
	if err := os.MkdirAll(session.dir, 0o700); err != nil {
		return Explain(s.root, err)
	}
	if s.leases, err = lease.Open(session.dir, s.Dir(leasesLock)); err != nil {
		return Explain(s.root, err)
	}
	s.blobs.Unlock()
	return nil
}

// Lease keeps what the keys and digests name until the session ends: steps,
// trees with all below them, and blobs. What is named is looked up after the
// call. It does nothing before BeginLeases: then nothing is pruned that an open
// store can count on.
func (s *Store) Lease(ctx context.Context, names ...digest.Digest) error {
	s.mu.Lock()
	book := s.leases
	s.mu.Unlock()
	if book == nil {
		return nil
	}
	return Explain(s.root, book.Add(ctx, names...))
}

// WithBlobs calls fn while no blob is removed, whether it is leased or not: fn
// brings an image into the store, or finds one, and leases it.
func (s *Store) WithBlobs(ctx context.Context, fn func() error) error {
	l, err := lock.Shared(ctx, s.Dir(blobsLock))
	if err != nil {
		return err
	}
	defer l.Unlock()
	return fn()
}

// Undisturbed calls fn while nobody prunes: for who hasn't leased what he is about to
// refer to. What that is has to be looked up in fn.
func (s *Store) Undisturbed(ctx context.Context, fn func() error) error {
	l, err := lock.Shared(ctx, s.Dir(leasesLock))
	if err != nil {
		return err
	}
	defer l.Unlock()
	return fn()
}

// leaseBlob leases a blob that is about to be stored.
func (s *Store) leaseBlob(d digest.Digest) error { return s.Lease(context.Background(), d) }
