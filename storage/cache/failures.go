package cache

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Failure is a RUN that failed, whose tree is kept so that somebody can look
// into it.
type Failure struct {
	// Key names the tree as the command left it, and its output among the logs;
	// Before the tree that the command started from, "" for scratch.
	Key    Key `json:"key"`
	Before Key `json:"before,omitempty"`
	// Version is that of Run's form: a reader passes over any other.
	Version int `json:"version"`
	// Dockerfile, Context and Target name the build, as Build has them.
	Dockerfile string `json:"dockerfile"`
	Context    string `json:"context"`
	Target     string `json:"target,omitempty"`
	// Stage is the stage's name or number, Place where the instruction stands,
	// such as "Dockerfile:3".
	Stage       string `json:"stage"`
	Place       string `json:"place"`
	Instruction string `json:"instruction"`
	// ExitCode is the command's, Cause how it ended in words.
	ExitCode int       `json:"exitCode"`
	Cause    string    `json:"cause"`
	Failed   time.Time `json:"failed"`
	// Root is the driver root that holds the trees, Boot the boot in which they
	// count.
	Root string `json:"root"`
	Boot string `json:"boot"`
	// Needs are other trees that the command's mounts show.
	Needs []Key `json:"needs,omitempty"`
	// Run is what has to be known to run a command as this one was run.
	Run json.RawMessage `json:"run"`
}

const (
	failedDir = "failed"
	// MaxFailures bounds how many failures are kept: the newest.
	MaxFailures = 5
)

// BuildID names the builds whose success makes the failure uninteresting.
func (f *Failure) BuildID() Key {
	return (&Build{Dockerfile: f.Dockerfile, Context: f.Context, Target: f.Target}).ID()
}

// Trees gives the keys of all trees that the failure needs.
func (f *Failure) Trees() []Key { return append([]Key{f.Key, f.Before}, f.Needs...) }

// PutFailure records a failure. Of too many the oldest are forgotten, and their
// number given: their trees are then for clean-up to find.
func (c *Cache) PutFailure(f *Failure) (forgotten int, err error) {
	if err := f.Key.Validate(); err != nil {
		return 0, err
	}
	data, err := json.Marshal(f)
	if err != nil {
		return 0, err
	}
	path := c.FailurePath(f.Key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, err
	}
	if err := atomicfile.WriteUnsynced(path, append(data, '\n'), 0o600); err != nil {
		return 0, fmt.Errorf("keep the failed step: %w", err)
	}
	all, err := c.Failures()
	if err != nil || len(all) <= MaxFailures {
		return 0, err
	}
	old := all[MaxFailures:]
	return len(old), c.removeFailures(old)
}

// Failures gives those that are kept, the newest first. One that can't be read
// counts as never kept.
func (c *Cache) Failures() ([]*Failure, error) {
	keys, err := c.FailureKeys()
	if err != nil {
		return nil, err
	}
	var all []*Failure
	for _, key := range keys {
		f, err := c.Failure(key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *Failure) int {
		return cmp.Or(b.Failed.Compare(a.Failed), cmp.Compare(a.Key, b.Key))
	})
	return all, nil
}

// FailureKeys gives the keys of all that are kept, readable or not.
func (c *Cache) FailureKeys() ([]Key, error) {
	names, err := os.ReadDir(filepath.Join(c.dir, failedDir))
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var keys []Key
	for _, name := range names {
		if !strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			keys = append(keys, digest.NewDigestFromEncoded(digest.SHA256, name.Name()))
		}
	}
	return keys, nil
}

// Failure gives one, or ErrNotFound.
func (c *Cache) Failure(key Key) (*Failure, error) {
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	data, err := os.ReadFile(c.FailurePath(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	f := new(Failure)
	if json.Unmarshal(data, f) != nil || f.Key != key {
		return nil, fmt.Errorf("%s is unreadable: %w", key, ErrNotFound)
	}
	return f, nil
}

// FailurePath is the file that records a failure.
func (c *Cache) FailurePath(key Key) string { return c.path(failedDir, key) }

// RemoveFailure forgets a failure. Its trees stay.
func (c *Cache) RemoveFailure(key Key) error { return ignoreAbsent(os.Remove(c.FailurePath(key))) }

// ForgetFailures forgets the failures of the builds with this id, and gives how
// many there were. It is one look into a directory where there are none.
func (c *Cache) ForgetFailures(build Key) (int, error) {
	all, err := c.Failures()
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(f *Failure) bool { return f.BuildID() != build })
	return len(all), c.removeFailures(all)
}

func (c *Cache) removeFailures(all []*Failure) error {
	var errs []error
	for _, f := range all {
		errs = append(errs, c.RemoveFailure(f.Key))
	}
	return errors.Join(errs...)
}
