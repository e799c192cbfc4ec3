package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"
	"time"
)

// TestForeignTimesBecomeTheEpoch packs what a command took along from a
// checkout, whole or cut to what a tool keeps of a time, beside its own.
func TestForeignTimesBecomeTheEpoch(t *testing.T) {
	checkout, older := time.Unix(50, 123456789), time.Unix(40, 1)
	gather := func(below *Times, at time.Time) *Times {
		times, err := GatherTimes(context.Background(), Entries([]*Entry{
			{Path: "d", Type: TypeDir, Implied: true, ModTime: time.Unix(30, 0)},
			{Path: "d/f", Type: TypeReg, ModTime: at},
			{Path: "d/g", Whiteout: true},
		}), below, t.TempDir())
		must(t, err)
		return times
	}
	foreign := gather(gather(nil, older), checkout)
	for _, tc := range []struct {
		at   time.Time
		rule TimeRule
		want int64
	}{
		{checkout, TimeRule{Mode: TimeClamp, Epoch: 60}, 60},
		{checkout, TimeRule{Mode: TimeClamp, Epoch: 45}, 45},
		{checkout, TimeRule{}, 50},
		{older, TimeRule{Mode: TimeClamp, Epoch: 60}, 60},
		{time.Unix(50, 123456000), TimeRule{Mode: TimeClamp, Epoch: 60}, 60},
		{time.Unix(50, 0), TimeRule{Mode: TimeClamp, Epoch: 60}, 60},
		{time.Unix(50, 1), TimeRule{Mode: TimeClamp, Epoch: 60}, 50},
		{time.Unix(30, 0), TimeRule{Mode: TimeClamp, Epoch: 60}, 30},
		{time.Unix(0, 0), TimeRule{Mode: TimeClamp, Epoch: 60}, 0},
	} {
		var blob bytes.Buffer
		src := Entries([]*Entry{{Path: "f", Type: TypeReg, ModTime: tc.at}})
		_, err := Pack(context.Background(), src, &blob, PackOptions{Compression: None, Time: tc.rule, Foreign: foreign})
		must(t, err)
		h, err := tar.NewReader(&blob).Next()
		must(t, err)
		if h.ModTime.Unix() != tc.want {
			t.Errorf("%+v makes %d of %v, want %d", tc.rule, h.ModTime.Unix(), tc.at, tc.want)
		}
	}
}

// However many times there are, they take no memory.
func TestTimesAreOutOfMemory(t *testing.T) {
	const files = 50_000
	before := heldMemory()
	times, err := GatherTimes(t.Context(), filesOfManyTimes(files), nil, t.TempDir())
	must(t, err)
	if held := heldMemory() - before; held > 1<<20 {
		t.Errorf("%d bytes are held", held)
	}
	for n := range int64(files) {
		for at, want := range map[time.Time]bool{time.Unix(n, n*1001): true, time.Unix(n, n*1001+1): false, time.Unix(n, 0): true} {
			if ok, err := times.has(at); ok != want || err != nil {
				t.Fatalf("%v: %v (%v)", at, ok, err)
			}
		}
	}
	must(t, times.Close())
}

// filesOfManyTimes is a source of files each of which has a time of its own.
type filesOfManyTimes int

func (files filesOfManyTimes) Walk(_ context.Context, fn func(*Entry) error) error {
	for n := range int64(files) {
		if err := fn(&Entry{Path: "f", Type: TypeReg, ModTime: time.Unix(n, n*1001)}); err != nil {
			return err
		}
	}
	return nil
}

// TestForeignTimesDontTellEntriesApart puts one checkout's file in the place of
// another's: what stands in the layer mustn't depend on when they were checked out.
func TestForeignTimesDontTellEntriesApart(t *testing.T) {
	s := newStack(t, Overlay)
	s.run(shell(t, "mkdir d; echo x > d/f; touch -d @1000 d/f d; echo x > g; touch -d @2000 g"))
	foreign, err := GatherTimes(context.Background(), Entries([]*Entry{
		{Path: "d/f", Type: TypeReg, ModTime: time.Unix(1000, 0)}, {Path: "g", Type: TypeReg, ModTime: time.Unix(2000, 0)},
	}), nil, t.TempDir())
	must(t, err)
	moved := s.run(shell(t, "touch -d @2000 d/f"))
	rule := TimeRule{Mode: TimeClamp, Epoch: 1e9, foreign: foreign}
	if got := listing(t, moved.(timed).timed(rule)); got != "" {
		t.Errorf("there stands\n%s", got)
	}
}
