package log

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string, o Options) *Writer {
	t.Helper()
	w, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func write(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(to, text); n != len(text) || err != nil {
		t.Fatalf("writing %d bytes: %d, %v", len(text), n, err)
	}
}

func closeLog(t *testing.T, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string, o ReadOptions) (entries []Entry) {
	t.Helper()
	err := Read(t.Context(), dir, o, func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// texts gives what entries say, in brief.
func texts(entries []Entry) (list []string) {
	for _, e := range entries {
		list = append(list, strings.TrimPrefix(e.Stream, "std")+" "+e.Log)
	}
	return list
}

func expect(t *testing.T, dir string, o ReadOptions, want ...string) {
	t.Helper()
	if got := texts(read(t, dir, o)); !slices.Equal(got, want) {
		t.Errorf("the log has %q, not %q", got, want)
	}
}

func content(t *testing.T, dir string, n int) string {
	t.Helper()
	data, err := os.ReadFile(path(dir, n))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhatIsWrittenIsDockersJSONFile(t *testing.T) {
	dir := t.TempDir()
	before := time.Now()
	w := open(t, dir, Options{})
	out, err := w.Stream(Stdout), w.Stream(Stderr)
	write(t, out, "one\ntwo\n")
	write(t, err, "\tto \"stderr\" <&> \\ \x01\x7f é\r\n")
	write(t, out, "begun ")
	write(t, err, "between\n")
	write(t, out, "and ended\nnever ended")
	write(t, out, "")
	closeLog(t, w)
	write(t, out, "after the end\n")

	entries := read(t, dir, ReadOptions{Tail: All})
	want := []string{
		"out one\n", "out two\n", "err \tto \"stderr\" <&> \\ \x01\x7f é\r\n", "err between\n", "out begun and ended\n", "out never ended",
	}
	if got := texts(entries); !slices.Equal(got, want) {
		t.Errorf("%q is read, not %q", got, want)
	}
	for _, e := range entries {
		if e.Time.Before(before) || e.Time.After(time.Now()) || e.Time.Location() != time.UTC {
			t.Errorf("%q was written at %v", e.Log, e.Time)
		}
	}
	first, _, _ := strings.Cut(content(t, dir, 0), "\n")
	if want := fmt.Sprintf(`{"log":"one\n","stream":"stdout","time":"%s"}`, entries[0].Time.Format(time.RFC3339Nano)); first != want {
		t.Errorf("the first line is %s, not %s", first, want)
	}
	if info, err := os.Stat(path(dir, 0)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log is for others too: %v, %v", info.Mode(), err)
	}
}

// A program that is started again begins a new line, and costs no memory.
func TestAStreamThatBeginsAgainEndsWhatWasOpen(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	for i := range 3 {
		write(t, w.Stream(Stdout), fmt.Sprintf("run %d", i))
		write(t, w.Stream(Stderr), "error\n")
	}
	if len(w.streams) != 2 {
		t.Errorf("two streams have become %d", len(w.streams))
	}
	closeLog(t, w)
	expect(t, dir, ReadOptions{Tail: All}, "err error\n", "out run 0", "err error\n", "out run 1", "err error\n", "out run 2")
}

func TestALongLineComesInPiecesOfWholeRunes(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	out := w.Stream(Stderr)
	line := "x" + strings.Repeat("é", pieceSize) + "\n" // a piece ends within a rune
	for rest := line; rest != ""; {                     // in pieces as a pipe gives them
		n := min(len(rest), 5000)
		write(t, out, rest[:n])
		rest = rest[n:]
	}
	closeLog(t, w)
	var whole strings.Builder
	entries := read(t, dir, ReadOptions{Tail: All})
	for i, e := range entries {
		whole.WriteString(e.Log)
		if strings.HasSuffix(e.Log, "\n") != (i == len(entries)-1) || len(e.Log) > pieceSize {
			t.Errorf("piece %d of %d has %d bytes, the last %q", i+1, len(entries), len(e.Log), e.Log[len(e.Log)-1:])
		}
	}
	if whole.String() != line {
		t.Errorf("%d bytes became %d", len(line), whole.Len())
	}
	if len(entries) != 3 {
		t.Errorf("%d bytes come in %d entries", len(line), len(entries))
	}
}

func TestManyLinesAreOneWriteWithoutAllocation(t *testing.T) {
	w := open(t, t.TempDir(), Options{})
	out := w.Stream(Stdout)
	lines := []byte(strings.Repeat("0123456789\n", 100))
	write(t, out, string(lines))
	if n := testing.AllocsPerRun(100, func() { _, _ = out.Write(lines) }); n > 0 {
		t.Errorf("100 lines allocate %v times", n)
	}
}

func TestAFloodDoesntGrowMemory(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{MaxSize: 1 << 20, MaxFile: 2})
	out, err := w.Stream(Stdout), w.Stream(Stderr)
	flood := bytes.Repeat([]byte{1}, 1<<20) // the longest form in JSON, and never a line's end
	for range 8 {
		write(t, out, string(flood))
		write(t, err, string(flood))
	}
	held := cap(w.pending)
	for _, s := range w.streams {
		held += cap(s.partial)
	}
	if held > 300<<10 {
		t.Errorf("the writer holds %d bytes", held)
	}
	var disk int64
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		disk += info.Size()
	}
	if len(files) != 2 || disk > 5<<19 {
		t.Errorf("two files of 1 MiB are %d of %d bytes together", len(files), disk)
	}
}

func TestFullFilesGetOtherNames(t *testing.T) {
	for _, files := range []int{1, 2, 4} {
		dir := t.TempDir()
		w := open(t, dir, Options{MaxSize: 250, MaxFile: files})
		for i := range 100 {
			write(t, w.Stream(Stdout), fmt.Sprintf("line %02d\n", i))
		}
		closeLog(t, w)
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(names) != files {
			t.Errorf("of %d files there are %q", files, names)
		}
		entries := read(t, dir, ReadOptions{Tail: All})
		first := 100 - len(entries)
		for i, e := range entries {
			if want := fmt.Sprintf("line %02d\n", first+i); e.Log != want {
				t.Fatalf("of %d files, entry %d is %q, not %q", files, i, e.Log, want)
			}
		}
		// Each file has three or four lines.
		if len(entries) <= 3*(files-1) || len(entries) > 4*files {
			t.Errorf("of %d files, %d entries are left", files, len(entries))
		}
		// The next writer goes on there.
		w = open(t, dir, Options{MaxSize: 250, MaxFile: files})
		write(t, w.Stream(Stdout), "line 100\n")
		closeLog(t, w)
		expect(t, dir, ReadOptions{Tail: 1}, "out line 100\n")
	}
}

func TestAMissingDirectoryIsAnError(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !os.IsNotExist(err) {
		t.Errorf("opening gives %v", err)
	}
	expect(t, t.TempDir(), ReadOptions{Tail: All})
}

func TestNoneKeepsNothing(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{Driver: DriverNone})
	write(t, w.Stream(Stdout), "nothing\n")
	closeLog(t, w)
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
		t.Errorf("there is %q", names)
	}
}

func TestATornEndIsMended(t *testing.T) {
	for name, torn := range map[string]string{
		"half an entry": `{"log":"to`, "zeros": strings.Repeat("\x00", 9000), "nothing": "",
	} {
		dir := t.TempDir()
		w := open(t, dir, Options{})
		write(t, w.Stream(Stdout), "before\n")
		closeLog(t, w)
		f, err := os.OpenFile(path(dir, 0), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, torn)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, ReadOptions{Tail: All}, "out before\n")
		w = open(t, dir, Options{})
		write(t, w.Stream(Stdout), "after\n")
		closeLog(t, w)
		for line := range strings.Lines(content(t, dir, 0)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("after %s, there is the line %q", name, line)
			}
		}
		expect(t, dir, ReadOptions{Tail: All}, "out before\n", "out after\n")
	}
}

func TestOptionsAreReadAsDockerReadsThem(t *testing.T) {
	for _, test := range []struct {
		driver string
		values []string
		want   Options
		fails  string
	}{
		{"", nil, Options{Driver: DriverJSON}, ""},
		{"json-file", []string{"max-size=10m", "max-file=3"}, Options{DriverJSON, 10_000_000, 3}, ""},
		{"", []string{"max-size=4096"}, Options{DriverJSON, 4096, 0}, ""},
		{"none", nil, Options{Driver: DriverNone}, ""},
		{"none", []string{"max-size=1k"}, Options{}, "invalid logging opts for driver none"},
		{"", []string{"max-size"}, Options{}, "max-size must be a positive number"},
		{"", []string{"max-size=0"}, Options{}, "max-size must be a positive number"},
		{"", []string{"max-size=much"}, Options{}, "max-size must be a positive number"},
		{"", []string{"max-size=1k", "max-file=0"}, Options{}, "max-file cannot be less than 1"},
		{"", []string{"max-file=3"}, Options{}, "max-file cannot be set without max-size"},
		{"", []string{"colour=red"}, Options{}, "unknown log opt 'colour' for json-file log driver"},
		{"journald", nil, Options{}, "no log driver named 'journald'"},
	} {
		got, err := ParseOptions(test.driver, test.values)
		switch {
		case test.fails == "" && (err != nil || got != test.want):
			t.Errorf("%s %q: %+v, %v", test.driver, test.values, got, err)
		case test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
			t.Errorf("%s %q: %v", test.driver, test.values, err)
		}
	}
}

// FuzzText holds the strings that are written against encoding/json.
func FuzzText(f *testing.F) {
	f.Add([]byte("plain\n"))
	f.Add([]byte("\x00\x1f\"\\/\u2028\xff\xc3é\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, text []byte) {
		line := appendEntry(nil, text, Stdout, time.Unix(0, 1).UTC())
		e, ok := decode(line)
		if !ok {
			t.Fatalf("%q becomes %q", text, line)
		}
		marshalled, err := json.Marshal(string(text))
		var want string
		if err != nil || json.Unmarshal(marshalled, &want) != nil || e.Log != want {
			t.Errorf("%q becomes %q, and %q by encoding/json", text, e.Log, want)
		}
	})
}
