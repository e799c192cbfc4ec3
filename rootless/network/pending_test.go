package network

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
)

// slow is a helper that gets ready when told to.
func slow(release <-chan struct{}, err error) helper {
	return helper{name: "slow", ipv6: func() bool { return false }, attach: func(ctx context.Context, _ attachment) (*process, error) {
		select {
		case <-release:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
}

func TestNamespaceIsThereBeforeItsHelper(t *testing.T) {
	forEachHelper(t, func(t *testing.T, h helper) {
		dir := t.TempDir()
		gate := make(chan struct{})
		attach := h.attach
		h.attach = func(ctx context.Context, a attachment) (*process, error) {
			<-gate
			return attach(ctx, a)
		}
		pending, err := begin(t.Context(), dir, DNS{}, []Port{{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}}, []helper{h})
		if err != nil {
			t.Fatal(err)
		}
		early := pending.Network()
		if err := within(pending.Path, func() error { return nil }); err != nil {
			t.Errorf("before the helper is ready: %v", err)
		}
		close(gate)
		ns, err := pending.Ready(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := ns.Network()
		if early.NSPath != late.NSPath || !bytes.Equal(early.Resolv, late.Resolv) || early.HostsIP != late.HostsIP || pending.Ports[0] != ns.Ports[0] {
			t.Errorf("%+v has become %+v", early, late)
		}
		ns.Stop()
		if err := errors.Join(ns.Close(), pending.Close(), ns.Close()); err != nil {
			t.Error(err)
		}
		leftovers(t, dir)
	})
}

func TestPendingNetworkCanBeAbandoned(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	pending, err := begin(t.Context(), dir, DNS{}, nil, []helper{slow(nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := pending.Close(); err != nil {
		t.Error(err)
	}
	leftovers(t, dir)

	ctx, cancel := context.WithCancel(t.Context())
	if pending, err = begin(t.Context(), dir, DNS{}, nil, []helper{slow(nil, nil)}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := pending.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready: %v, want %v", err, context.Canceled)
	}
	leftovers(t, dir)
}

func TestHelperThatFailsLaterLeavesNothing(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	gate := make(chan struct{})
	pending, err := begin(t.Context(), dir, DNS{}, nil, []helper{slow(gate, os.ErrPermission)})
	if err != nil {
		t.Fatal(err)
	}
	close(gate)
	if _, err := pending.Ready(t.Context()); err == nil {
		t.Error("no error")
	}
	leftovers(t, dir)
}
