package log

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lines writes a file as it is.
func lines(t *testing.T, dir string, n int, text string) {
	t.Helper()
	if err := os.WriteFile(path(dir, n), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// at is an entry's line, written in that second.
func at(second int64, text string) string {
	return string(appendEntry(nil, []byte(text), Stdout, time.Unix(second, 0).UTC()))
}

func TestTheTailGoesOverFiles(t *testing.T) {
	dir := t.TempDir()
	lines(t, dir, 2, at(1, "1\n")+at(2, "2\n"))
	lines(t, dir, 1, at(3, "3\n"))
	lines(t, dir, 0, at(4, "4\n")+at(5, "5\n")+`{"log":"to`)
	all := []string{"out 1\n", "out 2\n", "out 3\n", "out 4\n", "out 5\n"}
	for n := range 7 {
		expect(t, dir, ReadOptions{Tail: n}, all[max(0, 5-n):]...)
	}
	expect(t, dir, ReadOptions{Tail: All}, all...)
}

func TestTheTailOfALongFile(t *testing.T) {
	dir := t.TempDir()
	var b strings.Builder
	for i := range 20_000 {
		b.WriteString(at(int64(i), fmt.Sprintf("%d\n", i)))
	}
	lines(t, dir, 0, b.String())
	for _, n := range []int{1, 1000, 19_999, 20_000, 30_000} {
		got := read(t, dir, ReadOptions{Tail: n})
		if want := fmt.Sprintf("%d\n", max(0, 20_000-n)); len(got) != min(n, 20_000) || got[0].Log != want {
			t.Errorf("the last %d are %d and begin with %q", n, len(got), got[0].Log)
		}
	}
}

func TestSinceAndUntil(t *testing.T) {
	dir := t.TempDir()
	lines(t, dir, 0, at(1, "1\n")+at(3, "3\n")+at(2, "the clock went back\n")+at(4, "4\n"))
	expect(t, dir, ReadOptions{Tail: All, Since: time.Unix(2, 0), Until: time.Unix(3, 0)}, "out 3\n", "out the clock went back\n")
	expect(t, dir, ReadOptions{Tail: All, Since: time.Unix(4, 1)})
	expect(t, dir, ReadOptions{Tail: 2, Until: time.Unix(3, 0)}, "out the clock went back\n") // of the last two
}

func TestWhatIsNoEntryIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	lines(t, dir, 0, strings.Join([]string{
		"garbage", "", "{}", "null", "[1]", `{"log":1}`, `{"log":"x","stream":"stdout","time":"yesterday"}`, "\x00\x00\x00",
		`{"log":"` + strings.Repeat("x", 2*maxLine) + `","stream":"stdout","time":"2026-01-31T08:30:00Z"}`,
		`{"log":"` + strings.Repeat("y", maxLine/2) + `\n","stream":"stdout","time":"2026-01-31T08:30:00Z"}`,
		"\x00\x00" + strings.TrimSpace(at(1, "behind zeros\n")),
		`{"time":"2026-01-31T08:30:00Z","stream":"stderr","log":"of another order\n","attrs":{"a":"b"}}`,
	}, "\n")+"\n")
	expect(t, dir, ReadOptions{Tail: All}, "out "+strings.Repeat("y", maxLine/2)+"\n", "out behind zeros\n", "err of another order\n")
}

func TestAHugeLineIsntHeld(t *testing.T) {
	var buffer []byte
	in := bufio.NewReader(io.MultiReader(strings.NewReader(strings.Repeat("x", 32*maxLine)), strings.NewReader("\nnext\n")))
	if line, n, err := readLine(in, &buffer); len(line) > 0 || n != 32*maxLine+1 || err != nil {
		t.Errorf("it is %d of %d bytes: %v", len(line), n, err)
	}
	if cap(buffer) > 4*maxLine {
		t.Errorf("%d bytes are held", cap(buffer))
	}
	if line, _, err := readLine(in, &buffer); string(line) != "next\n" || err != nil {
		t.Errorf("after it comes %q: %v", line, err)
	}
}

// Rotation gives a file another name between two looks: then it is met twice.
func TestAFileThatIsMetTwiceIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	lines(t, dir, 0, at(1, "1\n"))
	if err := os.Link(path(dir, 0), path(dir, 1)); err != nil {
		t.Fatal(err)
	}
	lines(t, dir, 2, at(0, "0\n"))
	expect(t, dir, ReadOptions{Tail: All}, "out 0\n", "out 1\n")
}

// Who reads without Follow gets what was there when he began, all of it.
func TestWhatComesMeanwhileIsntRead(t *testing.T) {
	for _, o := range []Options{{}, {MaxSize: 1 << 20}, {MaxSize: 1 << 20, MaxFile: 2}} {
		dir := t.TempDir()
		w := open(t, dir, o)
		out := w.Stream(Stdout)
		const there = 2000 // more than is read at once
		for i := range there {
			write(t, out, fmt.Sprintf("%d, with some more text\n", i))
		}
		n := 0
		more := strings.Repeat("more\n", 100)
		err := Read(t.Context(), dir, ReadOptions{Tail: All}, func(e Entry) error {
			if want := fmt.Sprintf("%d, with some more text\n", n); e.Log != want {
				return fmt.Errorf("%q, not %q", e.Log, want)
			}
			n++
			write(t, out, more)
			return nil
		})
		if err != nil || n != there {
			t.Errorf("%+v: of %d entries, %d are read: %v", o, there, n, err)
		}
	}
}

// following starts to follow a log. What it reads comes by the channel, which is
// closed at the end.
func following(t *testing.T, dir string, o ReadOptions) <-chan string {
	t.Helper()
	got := make(chan string)
	o.Follow = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	go func() {
		defer close(got)
		err := Read(ctx, dir, o, func(e Entry) error {
			select {
			case got <- e.Log:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			t.Error(err)
		}
	}()
	return got
}

func next(t *testing.T, got <-chan string, want string) {
	t.Helper()
	if text, ok := <-got; !ok || text != want {
		t.Fatalf("%q, %t comes, not %q", text, ok, want)
	}
}

func TestFollowGivesWhatComesUntilTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, Options{})
	out := w.Stream(Stdout)
	write(t, out, "1\n2\n")
	var ended atomic.Bool
	got := following(t, dir, ReadOptions{Tail: 1, Ended: ended.Load})
	next(t, got, "2\n")
	for i := range 20 {
		line := fmt.Sprintf("%d\n", i)
		write(t, out, line)
		next(t, got, line)
	}
	write(t, out, "the last")
	closeLog(t, w)
	ended.Store(true)
	next(t, got, "the last")
	if text, ok := <-got; ok {
		t.Errorf("after the end comes %q", text)
	}
}

func TestFollowBeginsBeforeThereIsALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var ended atomic.Bool
	got := following(t, dir, ReadOptions{Tail: 0, Ended: ended.Load})
	// Whoever follows has to be there before: a channel can't tell.
	w := open(t, dir, Options{})
	out := w.Stream(Stdout)
	for done := false; !done; {
		write(t, out, "again\n")
		select {
		case text := <-got:
			done = text == "again\n"
		case <-time.After(10 * time.Millisecond):
		}
	}
	ended.Store(true)
	for range got {
	}
}

func TestFollowGoesFromFileToFile(t *testing.T) {
	t.Parallel()
	for _, files := range []int{1, 2, 3} {
		dir := t.TempDir()
		w := open(t, dir, Options{MaxSize: 200, MaxFile: files})
		out := w.Stream(Stderr)
		write(t, out, "begin\n")
		var ended atomic.Bool
		got := following(t, dir, ReadOptions{Tail: All, Ended: ended.Load})
		next(t, got, "begin\n")
		for i := range 50 {
			line := fmt.Sprintf("line %d\n", i)
			write(t, out, line)
			next(t, got, line)
		}
		ended.Store(true)
		if text, ok := <-got; ok {
			t.Errorf("after the end comes %q", text)
		}
	}
}

// A slow reader loses what is rotated away, but stays in order and meets the end.
func TestFollowOutrunByTheWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, Options{MaxSize: 200, MaxFile: 2})
	out := w.Stream(Stdout)
	write(t, out, "0\n")
	var ended atomic.Bool
	got := following(t, dir, ReadOptions{Tail: All, Ended: ended.Load})
	for i := range 1000 {
		write(t, out, fmt.Sprintf("%d\n", i+1))
	}
	ended.Store(true)
	last, text := -1, ""
	for text = range got {
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil || n <= last {
			t.Fatalf("%q comes after %d: %v", text, last, err)
		}
		last = n
	}
	if last != 1000 {
		t.Errorf("the last entry is %d", last)
	}
}

func TestFollowEndsWithUntil(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, Options{})
	write(t, w.Stream(Stdout), "now\n")
	got := following(t, dir, ReadOptions{
		Tail: All, Until: time.Now().Add(50 * time.Millisecond), Ended: func() bool { return false },
	})
	next(t, got, "now\n")
	if text, ok := <-got; ok {
		t.Errorf("after the end comes %q", text)
	}
}

func TestFollowGoesBackWhereAFileIsEmptied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, Options{})
	out := w.Stream(Stdout)
	write(t, out, "a long line, longer than the next one\n")
	var ended atomic.Bool
	got := following(t, dir, ReadOptions{Tail: All, Ended: ended.Load})
	next(t, got, "a long line, longer than the next one\n")
	if err := os.Truncate(path(dir, 0), 0); err != nil {
		t.Fatal(err)
	}
	write(t, out, "short\n")
	next(t, got, "short\n")
	ended.Store(true)
	for range got {
	}
}

func TestReadingEndsWithTheErrorOfWhoReads(t *testing.T) {
	dir := t.TempDir()
	lines(t, dir, 0, at(1, "1\n")+at(2, "2\n"))
	for _, follow := range []bool{false, true} {
		err := Read(t.Context(), dir, ReadOptions{Tail: All, Follow: follow}, func(Entry) error { return io.ErrClosedPipe })
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("following %t, it ends with %v", follow, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Read(ctx, dir, ReadOptions{Tail: All, Follow: follow}, func(Entry) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("following %t, it goes on: %v", follow, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(at(1, "1\n")+at(2, "2")+`{"log":"to`), 3)
	f.Add([]byte("\x00\x00\n\n{\"log\":\"\\ud800\",\"stream\":\"stdout\",\"time\":\"2026-01-31T08:30:00Z\"}\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, tail int) {
		dir := t.TempDir()
		lines(t, dir, 0, string(data))
		all := read(t, dir, ReadOptions{Tail: All})
		some := read(t, dir, ReadOptions{Tail: max(0, tail)})
		if len(some) > max(0, tail) || len(some) > len(all) {
			t.Errorf("the last %d of %d are %d", tail, len(all), len(some))
		}
		for i, e := range some {
			if e != all[len(all)-len(some)+i] {
				t.Errorf("the last %d aren't those of all: %q", tail, e.Log)
			}
		}
		w := open(t, dir, Options{})
		write(t, w.Stream(Stdout), "after\n")
		closeLog(t, w)
		if after := read(t, dir, ReadOptions{Tail: All}); len(after) != len(all)+1 || after[len(all)].Log != "after\n" {
			t.Errorf("of %d entries and one more, %d are read", len(all), len(after))
		}
	})
}
