package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage is let lie before it is collected. gcPercent of what is alive
// trades a little of a build's time for memory: what is alive is mostly lists of
// files, and a pod's limit counts every byte. Where that is little, leastGarbage
// counts: a short command would collect dozens of times.
const (
	gcPercent    = 15
	leastGarbage = 4 << 20
)

// smallestHeap is what Go's runtime lets a heap grow to, at 100 percent, before
// it collects for the first time.
const smallestHeap = 4 << 20

// collectRarely sets the rate of garbage collections for as long as the process
// lives.
func collectRarely() {
	percent := leastGarbage * 100 / smallestHeap
	debug.SetGCPercent(percent)
	afterCollection(func() {
		if now := gcPercentFor(liveHeap()); now != percent {
			percent = now
			debug.SetGCPercent(percent)
		}
	})
}

// gcPercentFor gives the rate at which so many bytes are alive, a multiple of
// gcPercent: the world is stopped when it changes.
func gcPercentFor(live uint64) int {
	const step = gcPercent
	percent := leastGarbage * 100 / max(live, 1<<20)
	return max(int(percent/step), 1) * step
}

// afterCollection calls do after each collection, by something that is garbage
// at once.
func afterCollection(do func()) {
	runtime.SetFinalizer(new([16]byte), func(*[16]byte) {
		do()
		afterCollection(do)
	})
}

// liveHeap is how many bytes the last collection found alive.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// releaseMemory gives back what this process needs no more, while it only waits for
// another that does the work. Where it is little, looking would take longer.
func releaseMemory() {
	if liveHeap() > leastGarbage {
		debug.FreeOSMemory()
	}
}
