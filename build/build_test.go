package build

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// env is an environment outside of a user namespace, with an empty store.
func env(t *testing.T) Env {
	t.Helper()
	dir := t.TempDir()
	store, err := storage.Open(t.Context(), storage.Options{Root: filepath.Join(dir, "store"), RunDir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return Env{Store: store}
}

// options asks for an image of the Dockerfile text.
func options(t *testing.T, text string) Options {
	t.Helper()
	return Options{ContextDir: t.TempDir(), Dockerfile: "Dockerfile", Source: []byte(text), Network: network.Choice{Mode: network.ModeNone}}
}

func TestBuildReturnsWhenNothingOfItGoesOn(t *testing.T) {
	e := env(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the user has had enough")
	var ended atomic.Bool
	e.Pull = func(ctx context.Context, _, _ string, _ func()) (layout.Image, error) {
		cancel(cause)
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond) // as long as a step needs to clean up
		ended.Store(true)
		return layout.Image{}, context.Cause(ctx)
	}
	_, err := Build(ctx, options(t, "FROM base\n"), e, ReporterFunc(func(Event) {}))
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	if !ended.Load() {
		t.Error("Build returned while the base was being pulled")
	}
}

func TestDockerfileTakesNoMoreNetworkThanTheBuildHas(t *testing.T) {
	e := env(t)
	build := func(text string, mode network.Mode) error {
		o := options(t, text)
		o.Network.Mode = mode
		_, err := Build(t.Context(), o, e, ReporterFunc(func(Event) {}))
		return err
	}
	const text = "FROM scratch\nRUN true\nRUN --network=host true\n"
	for _, mode := range []network.Mode{network.ModeNone, network.ModePrivate} {
		err := build(text, mode)
		if err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:3: ") || !strings.Contains(fault.Remedy(err), "--network host") {
			t.Errorf("%s: %v (remedy %q)", mode, err, fault.Remedy(err))
		}
	}
	for _, allowed := range []error{
		build(text, network.ModeHost),
		build("FROM scratch\nRUN --network=none true\n", network.ModePrivate),
		build("FROM scratch\nRUN --network=default true\n", network.ModeNone),
	} {
		if !errors.Is(allowed, ErrNamespace) {
			t.Error(allowed)
		}
	}
}
