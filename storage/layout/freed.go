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
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/lock"
)

// Free is what removals have left that nobody needs, as far as they knew: others
// may be about to use it.
type Free struct {
	Blobs  []digest.Digest
	Layers []FreeLayer // whose trees may go
	// All asks for all trees and records to be looked through.
	All bool
}

// A FreeLayer is one that no image had any more, and the blob of it that the
// last one had.
type FreeLayer struct{ ChainID, Blob digest.Digest }

// Words that lines begin with in the list of what is free; those of blobs have
// none.
const (
	layerWord = "layer"
	allWord   = "all"
)

// NoteFree appends to the list of what is free.
func (l *Layout) NoteFree(free Free) error {
	if free.isEmpty() {
		return nil
	}
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

// NotePassing notes what there is of an image as free, but for what others need.
// This session keeps it until it ends.
func (l *Layout) NotePassing(manifest v1.Descriptor, multi *v1.Descriptor) error {
	blobs, err := l.needed(manifest, multi)
	if err == nil {
		err = l.Lease(blobs...)
	}
	if err == nil {
		blobs, err = l.Unreferenced(blobs)
	}
	if err != nil || len(blobs) == 0 {
		return err
	}
	return l.NoteFree(Free{Blobs: blobs})
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
	return l.appendFree(Free{Blobs: free})
}

func (l *Layout) lockFreed() (*lock.Lock, error) {
	// Held for no longer than a read and a write take.
	return lock.Exclusive(context.Background(), l.lockFile)
}

func (f Free) text() string {
	var text strings.Builder
	for _, d := range f.Blobs {
		fmt.Fprintln(&text, d)
	}
	for _, layer := range f.Layers {
		fmt.Fprintln(&text, layerWord, layer.ChainID, layer.Blob)
	}
	if f.All {
		fmt.Fprintln(&text, allWord)
	}
	return text.String()
}

func (f Free) isEmpty() bool { return len(f.Blobs)+len(f.Layers) == 0 && !f.All }

// ReadFree gives what is noted as free. Where that was cut short by a full disk or
// a kill, all is to be looked through.
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
		free.add(strings.Fields(line))
	}
	free.All = free.All || len(data) == 0
	return free, nil
}

// add adds what a line of the list says.
func (f *Free) add(words []string) {
	switch {
	case len(words) == 1 && validDigest(digest.Digest(words[0])):
		f.Blobs = append(f.Blobs, digest.Digest(words[0]))
	case len(words) == 3 && words[0] == layerWord && validDigest(digest.Digest(words[1])) && validDigest(digest.Digest(words[2])):
		f.Layers = append(f.Layers, FreeLayer{digest.Digest(words[1]), digest.Digest(words[2])})
	default:
		f.All = true
	}
}

// DropFree takes from the list of what is free what has gone, All too where gone
// has it.
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
	free.All = free.All && !gone.All
	if free.isEmpty() {
		if err := os.Remove(l.freedFile); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return atomicfile.Write(l.freedFile, []byte(free.text()), 0o600)
}

func without[T comparable](list, gone []T) []T {
	drop := make(map[T]bool, len(gone))
	for _, one := range gone {
		drop[one] = true
	}
	return slices.DeleteFunc(list, func(one T) bool { return drop[one] })
}
