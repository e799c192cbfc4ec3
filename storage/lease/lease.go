// Package lease keeps what a command uses from being pruned while it runs. A
// command that leases writes the digests of what it counts on (keys of steps, of
// trees and their records, and of blobs) into a file of its session, each before
// it looks whether that is there; they end with the session, however it dies.
//
// Who prunes holds the lock of all leases while it chooses and forgets: so
// whatever a command has leased before stays, and whatever it leases after is
// either there or gone, and never half gone.
package lease

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/storage/lock"
)

// usesFile is the name of a book in its session's directory: a digest a line.
const usesFile = "uses"

// Book is what one command has leased. It may be used by several goroutines at
// once.
type Book struct {
	lockFile string

	mu    sync.Mutex
	file  *os.File
	known map[digest.Digest]bool
}

// Open begins the book of a session in its directory, which is there. lockFile
// is the lock of all leases.
func Open(sessionDir, lockFile string) (*Book, error) {
	f, err := os.OpenFile(filepath.Join(sessionDir, usesFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Book{lockFile: lockFile, file: f, known: map[digest.Digest]bool{}}, nil
}

// Add leases what the digests name; "" names nothing. What it names is to be
// looked up afterwards: it may have gone just before.
func (b *Book) Add(ctx context.Context, names ...digest.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	var fresh []digest.Digest
	for _, name := range names {
		if name != "" && !b.known[name] && !slices.Contains(fresh, name) {
			fresh = append(fresh, name)
			text.WriteString(name.String() + "\n")
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	l, err := lock.Shared(ctx, b.lockFile)
	if err != nil {
		return err
	}
	defer l.Unlock()
	if _, err := b.file.WriteString(text.String()); err != nil {
		return err
	}
	for _, name := range fresh {
		b.known[name] = true
	}
	return nil
}

// Close ends the writing; the leases last as long as the session.
func (b *Book) Close() error { return b.file.Close() }

// Live gives the directories of the sessions whose commands live, but for one.
func Live(sessions, but string) ([]string, error) {
	names, err := os.ReadDir(sessions)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, name := range names {
		n := name.Name()
		if n == but || name.IsDir() || strings.HasPrefix(n, atomicfile.Prefix) {
			continue
		}
		path := filepath.Join(sessions, n)
		dead, err := lock.Free(path)
		if err != nil {
			return nil, err
		}
		if !dead {
			dirs = append(dirs, path+".d")
		}
	}
	return dirs, nil
}

// Read adds what a session has leased to uses.
func Read(sessionDir string, uses map[digest.Digest]bool) error {
	f, err := os.Open(filepath.Join(sessionDir, usesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		uses[digest.Digest(lines.Text())] = true
	}
	return lines.Err()
}
