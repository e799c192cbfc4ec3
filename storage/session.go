package storage

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Session is a live command that makes things aside in the store. Its file in
// sessions/ is locked while the process lives; whoever finds it unlocked owns
// what the session left, which is:
//
//   - everything below its TempDir
//   - blobs being written, whose names begin with .tmp-<ID>-
//   - the trees that its journal names, but for those that a record names too
type Session struct {
	// ID names the session in the names of what it makes.
	ID string

	store *Store
	lock  *lock.Lock
	dir   string

	mu      sync.Mutex
	journal *os.File
	pending map[treeName]bool
}

// treeName is a tree by its driver root and its id there.
type treeName struct{ root, id string }

const (
	journalFile = "trees"
	// A journal's lines: a tree that is being made, and the key under which it
	// is about to be recorded. The second comes before the record, so that a
	// tree whose record exists is known to be kept.
	journalTree   = "tree"
	journalCommit = "commit"
)

func newSessionID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// Session gives the command's session, and begins it at the first call.
func (s *Store) Session() (*Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return s.session, nil
	}
	session, err := s.begin()
	if err != nil {
		return nil, Explain(s.root, err)
	}
	s.session = session
	return session, nil
}

// begin makes the session's file under another name first: it must not be
// seen under its own before it is locked. A sweeper may still get the lock of
// the other name, and then removes the file.
func (s *Store) begin() (*Session, error) {
	path := filepath.Join(s.Dir(sessionsDir), s.sessionID)
	aside := filepath.Join(s.Dir(sessionsDir), atomicfile.Prefix+s.sessionID)
	for {
		l, held, err := lock.TryExclusive(aside)
		if err != nil {
			return nil, err
		}
		if !held {
			continue
		}
		err = os.Rename(aside, path)
		if err == nil && l.Names(path) {
			return &Session{ID: s.sessionID, store: s, lock: l, dir: path + ".d", pending: map[treeName]bool{}}, nil
		}
		l.Unlock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// TempDir gives the session's private directory, which ends with it. It is on
// the file system of the images and the snapshots.
func (s *Session) TempDir() (string, error) {
	dir := filepath.Join(s.dir, "tmp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", Explain(s.store.root, err)
	}
	return dir, nil
}

// Making notes that a tree is about to be made in a driver root.
func (s *Session) Making(root, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("%s %s %s\n", journalTree, root, id); err != nil {
		return err
	}
	s.pending[treeName{root, id}] = true
	return nil
}

// Committing notes that a record of key is about to name a tree.
func (s *Session) Committing(root, id string, key snapshot.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note("%s %s %s %s\n", journalCommit, root, id, key)
}

// Settled notes that a tree is recorded, or gone.
func (s *Session) Settled(root, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, treeName{root, id})
}

// note appends a line to the journal in one write.
func (s *Session) note(format string, args ...any) error {
	if s.journal == nil {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
		path := filepath.Join(s.dir, journalFile)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		s.journal = f
	}
	_, err := fmt.Fprintf(s.journal, format, args...)
	return err
}

// close ends the session: what it left unsettled is removed, its file last.
func (s *Session) close() error {
	defer s.lock.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	for tree := range s.pending {
		errs = append(errs, snapshot.RemoveTree(s.store.Dir(snapshotsDir), tree.root, tree.id))
	}
	errs = append(errs, removal.All(s.dir))
	if err := errors.Join(errs...); err != nil {
		// The file stays: a sweeper inside the namespace may be able to do more.
		return fmt.Errorf("end the session: %w", err)
	}
	return os.Remove(strings.TrimSuffix(s.dir, ".d"))
}

// journalled is what a journal says of one tree.
type journalled struct {
	tree treeName
	keys []snapshot.Key
}

// readJournal gives the trees that a session in dir named, the last first:
// later ones may stand on earlier ones. A line cut short by a full disk names
// nothing.
func readJournal(dir string) ([]journalled, error) {
	f, err := os.Open(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var trees []journalled
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 3 && words[0] == journalTree && safeName(words[1]) && safeName(words[2]):
			trees = append([]journalled{{tree: treeName{words[1], words[2]}}}, trees...)
		case len(words) == 4 && words[0] == journalCommit:
			for i := range trees {
				if trees[i].tree == (treeName{words[1], words[2]}) {
					trees[i].keys = append(trees[i].keys, digest.Digest(words[3]))
				}
			}
		}
	}
	return trees, nil
}

// journalTrees gives the trees that a session in dir has made or is making, by
// driver root and id.
func journalTrees(dir string) ([][2]string, error) {
	named, err := readJournal(dir)
	trees := make([][2]string, len(named))
	for i, t := range named {
		trees[i] = [2]string{t.tree.root, t.tree.id}
	}
	return trees, err
}

// safeName reports whether a word can be a name in a directory and leave it
// for no other.
func safeName(s string) bool {
	return s != "" && s[0] != '.' && !strings.Contains(s, "/")
}
