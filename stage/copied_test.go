package stage

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/builder-oci/builder/storage/layer"
)

// zeros is a file of so many bytes.
func zeros(size int64) *layer.Entry {
	return &layer.Entry{Type: tar.TypeReg, Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(make([]byte, size))), nil
	}}
}

// given is a source of these entries.
type given struct {
	Files
	entries []*layer.Entry
}

func (g given) Walk(_ context.Context, _ string, fn func(*File) error) error {
	for _, e := range g.entries {
		if err := fn(&File{Entry: *e}); err != nil {
			return err
		}
	}
	return nil
}

// selected is a selection of these entries.
func selected(t *testing.T, at Step, entries ...*layer.Entry) *selection {
	t.Helper()
	sel := &selection{at: at}
	it := item{files: given{entries: entries}}
	if err := sel.list(t.Context(), &it); err != nil {
		t.Fatal(err)
	}
	sel.items = []item{it}
	return sel
}

func TestLongCopiesTellHowFarTheyAre(t *testing.T) {
	at := Step{N: 3}
	var told []Copied
	r := &Runner{Report: func(e Event) { told = append(told, e.(Copied)) }}
	file := zeros(longCopy)
	sel := selected(t, at, file, zeros(5), &layer.Entry{Type: tar.TypeDir})
	sel.meter(r).watch(nil, file)
	f, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, f); n != longCopy || err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	if len(told) == 0 || told[0] != (Copied{at, 0, longCopy + 5}) {
		t.Fatalf("told %v", told)
	}
	if !slices.IsSortedFunc(told, func(a, b Copied) int { return int(a.Bytes - b.Bytes) }) {
		t.Errorf("told %v", told)
	}
}

func TestShortCopiesAreNotCounted(t *testing.T) {
	r := &Runner{Report: func(e Event) { t.Errorf("told %v", e) }}
	file := zeros(longCopy - 1)
	selected(t, Step{}, file).meter(r).watch(nil, file)
	f, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, metered := f.(*meteredFile); metered {
		t.Error("its reads are counted")
	}
}

func TestOutputTellsOfALineThatHasNoEnd(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	var told []Event
	o := newOutput(&Runner{Report: func(e Event) { told = append(told, e) }}, Step{}, file)
	for _, text := range []string{"one\ntwo", " and\r", "three", "\n"} {
		if _, err := o.stdout().Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	want := []Event{
		Output{Line: "one"},
		Standing{Text: "two"},
		Standing{Text: "two and\r"},
		Standing{Text: "two and\rthree"},
		Output{Line: "two and\rthree"},
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}
