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
		}), below)
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

// TestForeignTimesDontTellEntriesApart puts one checkout's file in the place of
// another's: what stands in the layer mustn't depend on when they were checked out.
func TestForeignTimesDontTellEntriesApart(t *testing.T) {
	s := newStack(t, Overlay)
	s.run(shell(t, "mkdir d; echo x > d/f; touch -d @1000 d/f d; echo x > g; touch -d @2000 g"))
	foreign, err := GatherTimes(context.Background(), Entries([]*Entry{
		{Path: "d/f", Type: TypeReg, ModTime: time.Unix(1000, 0)}, {Path: "g", Type: TypeReg, ModTime: time.Unix(2000, 0)},
	}), nil)
	must(t, err)
	moved := s.run(shell(t, "touch -d @2000 d/f"))
	rule := TimeRule{Mode: TimeClamp, Epoch: 1e9, foreign: foreign}
	if got := listing(t, moved.(timed).timed(rule)); got != "" {
		t.Errorf("there stands\n%s", got)
	}
}
