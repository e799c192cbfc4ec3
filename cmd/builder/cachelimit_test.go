package main

import (
	"flag"
	"io"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// withFlags gives the context of a command that was called with args.
func withFlags(t *testing.T, flags []cli.Flag, args ...string) *cli.Context {
	t.Helper()
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	for _, f := range flags {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	c := cli.NewContext(newApp(io.Discard, io.Discard), set, nil)
	c.Command = &cli.Command{HelpName: "builder test"}
	return c
}

func TestCacheLimit(t *testing.T) {
	t.Setenv("BUILDER_CACHE_LIMIT", "")
	flags := []cli.Flag{cacheLimitFlag()}
	for text, want := range map[string]int64{"5GB": 5e9, "none": -1, "0": 0} {
		if got, err := cacheLimit(withFlags(t, flags, "--cache-limit", text), "/"); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	if got, err := cacheLimit(withFlags(t, flags), "/"); err != nil || got <= 0 || got > mostCache {
		t.Errorf("by itself: %d, %v", got, err)
	}
	if _, err := cacheLimit(withFlags(t, flags, "--cache-limit", "much"), "/"); err == nil {
		t.Error("much is no size")
	}
	t.Setenv("BUILDER_CACHE_LIMIT", "7MB")
	if got, err := cacheLimit(withFlags(t, []cli.Flag{cacheLimitFlag()}), "/"); err != nil || got != 7e6 {
		t.Errorf("by the environment: %d, %v", got, err)
	}
}

func TestPruneLimits(t *testing.T) {
	read := func(args ...string) (keep int64, age time.Duration, err error) {
		l, err := pruneLimits(withFlags(t, pruneFlags(), args...))
		if !l.Before.IsZero() {
			age = time.Since(l.Before).Round(time.Minute)
		}
		return l.Keep, age, err
	}
	for _, c := range []struct {
		args []string
		keep int64
		age  time.Duration
	}{
		{nil, 0, 0},
		{[]string{"--keep-storage", "1GB"}, 1e9, 0},
		{[]string{"--filter", "until=24h"}, -1, 24 * time.Hour},
		{[]string{"--filter", "until=24h", "--keep-storage", "1GB"}, 1e9, 24 * time.Hour},
	} {
		if keep, age, err := read(c.args...); err != nil || keep != c.keep || age != c.age {
			t.Errorf("%q: %d, %v, %v", c.args, keep, age, err)
		}
	}
	for _, args := range [][]string{{"--keep-storage", "-1"}, {"--filter", "until=soon"}, {"--filter", "label=x"}} {
		if _, _, err := read(args...); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestCommaLists(t *testing.T) {
	got := commaLists([]string{"a,b", " c ", ",", ""})
	if len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "c" {
		t.Errorf("%q", got)
	}
}
