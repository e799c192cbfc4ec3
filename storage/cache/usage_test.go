package cache

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestUseIsNotedOnceAnHour(t *testing.T) {
	c := newCache(t)
	must(t, c.PutStep(&Step{Key: keyOf("k")}, nil))
	for ago, noted := range map[time.Duration]bool{time.Minute: false, 2 * time.Hour: true} {
		at := time.Now().Add(-ago).Round(time.Second)
		must(t, os.Chtimes(c.StepPath(keyOf("k")), at, at))
		c.Used(keyOf("k"))
		if got := !c.LastUsed(keyOf("k")).Equal(at); got != noted {
			t.Errorf("used %v ago: noted %v", ago, got)
		}
	}
	c.Used(keyOf("unknown"))
}

func TestTotalAddsUpWhatBuildsHaveMade(t *testing.T) {
	c := newCache(t)
	must(t, c.AddTotal(5))
	if _, err := c.Total(); !errors.Is(err, ErrNotFound) {
		t.Errorf("known though it was never measured: %v", err)
	}
	must(t, c.PutTotal(10))
	must(t, c.AddTotal(5))
	must(t, c.AddTotal(7))
	if n, err := c.Total(); n != 22 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	must(t, c.ForgetTotal())
	must(t, c.ForgetTotal())
}
