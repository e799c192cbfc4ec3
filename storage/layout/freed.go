package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/lock"
)

// Free is what removals have left that nobody needs, as far as they knew: others
// may be about to use it.
type Free struct {
	Blobs  []digest.Digest
	Layers []digest.Digest // chain IDs, whose trees may go
}

// layerWord begins the line of a layer in the list of what is free.
const layerWord = "layer "

// NoteFree appends to the list of what is free. The list's presence alone asks
// for trees and records to be looked through.
func (l *Layout) NoteFree(free Free) error {
	held, err := l.lockFreed()
	if err != nil {
		return err
	}
	defer held.Unlock()
	return l.appendFree(free)
}

// appendFree is NoteFree for who holds the lock of index.json.
func (l *Layout) appendFree(free Free) error {
	f, err := os.OpenFile(l.freedFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("note what is free: %w", err)
	}
	_, err = f.WriteString(free.text())
	return errors.Join(err, f.Close())
}

// noteDropped notes as free what nothing in ix leads to any more because an image is
// here in another form now: packed anew, or by another index. It is noted before ix
// is written; what turns out to be needed then doesn't go.
func (l *Layout) noteDropped(ix *index) error {
	candidates := map[digest.Digest]bool{}
	for _, d := range ix.dropped {
		if ix.first(func(e *entry) bool { return e.digest == d }) == nil {
			reached, _ := l.reach(d) // what can't be found now is found by the daily clean-up
			maps.Copy(candidates, reached)
		}
	}
	ix.dropped = nil
	if len(candidates) == 0 || l.freedFile == "" {
		return nil
	}
	free := l.unreferenced(ix, candidates)
	if len(free) == 0 {
		return nil
	}
	l.noted.Store(true)
	return l.appendFree(Free{Blobs: free})
}

// HasFreed says that this process has set blobs free by naming an image in another
// form, which are still there.
func (l *Layout) HasFreed() bool { return l.noted.Load() }

func (l *Layout) lockFreed() (*lock.Lock, error) {
	// Held for no longer than a read and a write take.
	return lock.Exclusive(context.Background(), l.lockFile)
}

func (f Free) text() string {
	var text strings.Builder
	for _, d := range f.Blobs {
		fmt.Fprintln(&text, d)
	}
	for _, d := range f.Layers {
		fmt.Fprintf(&text, "%s%s\n", layerWord, d)
	}
	return text.String()
}

// ReadFree gives what is noted as free.
func (l *Layout) ReadFree() (Free, error) {
	var free Free
	data, err := os.ReadFile(l.freedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return free, nil
	}
	if err != nil {
		return free, err
	}
	for line := range strings.Lines(string(data)) {
		text, layer := strings.CutPrefix(strings.TrimSpace(line), layerWord)
		d := digest.Digest(text)
		switch {
		case d.Validate() != nil: // cut short by a full disk
		case layer:
			free.Layers = append(free.Layers, d)
		default:
			free.Blobs = append(free.Blobs, d)
		}
	}
	return free, nil
}

// DropFree takes from the list of what is free what has gone. The list stays, be
// it empty.
func (l *Layout) DropFree(gone Free) error {
	held, err := l.lockFreed()
	if err != nil {
		return err
	}
	defer held.Unlock()
	free, err := l.ReadFree()
	if err != nil {
		return err
	}
	free.Blobs = without(free.Blobs, gone.Blobs)
	free.Layers = without(free.Layers, gone.Layers)
	return atomicfile.Write(l.freedFile, []byte(free.text()), 0o600)
}

func without(list, gone []digest.Digest) []digest.Digest {
	drop := setOf(gone)
	return slices.DeleteFunc(list, func(d digest.Digest) bool { return drop[d] })
}
