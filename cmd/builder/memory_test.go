package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGarbageIsCollectedByWhatIsAlive(t *testing.T) {
	for _, tc := range []struct {
		live     uint64
		min, max uint64 // garbage
	}{
		{0, 0, 0},
		{1 << 20, 3 << 20, 4 << 20},
		{10 << 20, 3 << 20, 4 << 20},
		{40 << 20, 6 << 20, 6 << 20},
		{100 << 20, 15 << 20, 15 << 20},
	} {
		if garbage := tc.live * uint64(gcPercentFor(tc.live)) / 100; garbage < tc.min || garbage > tc.max {
			t.Errorf("with %d bytes alive %d are let lie", tc.live, garbage)
		}
	}
}

func TestFewCollectionsWhereLittleIsAlive(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	collectRarely()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 << 10 {
		garbage = make([]byte, 1<<10)
	}
	runtime.ReadMemStats(&after)
	if n := after.NumGC - before.NumGC; n > 20 {
		t.Errorf("%d collections for 64 MB of garbage", n)
	}
}

var garbage []byte
