package build

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

func TestBuildsAtOnceAgreeOnTheFirst(t *testing.T) {
	store, err := storage.Open(context.Background(), storage.Options{Root: t.TempDir(), RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b := &build{env: Env{Store: store}}
	times := make([]time.Time, 8)
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i := range times {
		done.Go(func() {
			ready.Wait()
			var err error
			if times[i], err = b.firstBuilt(context.Background(), &layout.ImageConfig{OS: "linux"}); err != nil {
				t.Error(err)
			}
		})
	}
	ready.Done()
	done.Wait()
	for _, at := range times {
		if !at.Equal(times[0]) {
			t.Errorf("%v and %v", at, times[0])
		}
	}
	b.o.NoCache = true
	if at, err := b.firstBuilt(context.Background(), &layout.ImageConfig{OS: "linux"}); err != nil || at.Equal(times[0]) {
		t.Errorf("without the cache: %v, %v", at, err)
	}
}
