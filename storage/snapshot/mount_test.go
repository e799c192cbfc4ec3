package snapshot

import (
	"errors"
	"testing"
	"testing/synctest"
)

func TestErrorOfAnUnmountIsToldToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l leaving
		broken := errors.New("broken")
		release := make(chan struct{})
		l.begin("slow", func() error { <-release; return broken })
		l.begin("other", func() error { <-release; return nil })
		select {
		case <-l.mounts["slow"].done:
			t.Error("it has ended before it was let go on")
		default:
		}
		close(release)
		if !l.settle() {
			t.Error("two unmounts had begun")
		}
		if err := l.wait("slow"); !errors.Is(err, broken) {
			t.Errorf("wait: %v", err)
		}
		if err := l.wait("slow"); err != nil {
			t.Errorf("the error is told twice: %v", err)
		}
		if err := l.close(); err != nil || l.settle() {
			t.Errorf("something is left: %v", err)
		}
	})
}
