// Package volume keeps volumes: directories with a name of their own, in which
// containers keep what is to outlive them.
//
// Each has a directory, called by its name:
//
//	<name>/meta.json  its labels, and when it was made; written once
//	<name>/_data/     what containers see
//	<name>/lock       held while it is filled
//	<name>/filling    is there while it is filled
//	<name>/making     is there until the container has it for which it is made
//
// It is made aside, and removed by way of a name of that kind. Who is about to
// name a volume in a container's configuration holds the lock of all of them
// shared until that is written ([Store.Hold]), so that none is removed unseen.
package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/removal"
	"github.com/builder-oci/builder/storage/lock"
)

// Driver is the only one there is, in docker's word.
const Driver = "local"

// AnonymousLabel is docker's mark of a volume that nobody has named.
const AnonymousLabel = "com.docker.volume.anonymous"

var (
	// ErrUnknown is behind the error about a volume that isn't there.
	ErrUnknown = errors.New("no such volume")
	// ErrInUse is behind the error about one that containers have.
	ErrInUse = errors.New("volume is in use")
)

// Store is all volumes. It may be used by several goroutines.
type Store struct {
	dir, lockFile string
}

// Open gives the volumes in dir, which is made when there is one. lockFile is the
// lock of all of them.
func Open(dir, lockFile string) *Store { return &Store{dir, lockFile} }

// Volume is what is known of one.
type Volume struct {
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`
}

// Anonymous tells whether nobody has named it.
func (v Volume) Anonymous() bool {
	_, is := v.Labels[AnonymousLabel]
	return is
}

// Names in a volume's directory.
const (
	metaFile   = "meta.json"
	dataDir    = "_data"
	fillLock   = "lock"
	fillMarker = "filling"
	makeMarker = "making"
)

// Data gives the path of what containers see of a volume.
func (s *Store) Data(name string) string { return filepath.Join(s.own(name), dataDir) }

func (s *Store) own(name string) string { return filepath.Join(s.dir, name) }

// Hold keeps every volume from being removed until the lock is let go.
func (s *Store) Hold(ctx context.Context) (*lock.Lock, error) { return lock.Shared(ctx, s.lockFile) }

// Create makes a volume, or gives the one that has the name already, as it is. An
// empty name makes one without: it gets 64 hexadecimal digits, and docker's label.
func (s *Store) Create(ctx context.Context, name string, labels map[string]string) (Volume, error) {
	v := Volume{Name: name, Labels: labels, Created: time.Now().UTC()}
	if name == "" {
		v = anonymous(v)
	}
	return s.create(ctx, v, false)
}

// CreateFor makes a volume without a name for a container that is being made: if
// that comes to nothing, Sweep removes it. Made tells that it has come to something.
func (s *Store) CreateFor(ctx context.Context) (Volume, error) {
	return s.create(ctx, anonymous(Volume{Created: time.Now().UTC()}), true)
}

// Made says that a container has a volume that CreateFor has made.
func (s *Store) Made(name string) error {
	err := os.Remove(filepath.Join(s.own(name), makeMarker))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) create(ctx context.Context, v Volume, marked bool) (Volume, error) {
	if err := CheckName(v.Name); err != nil {
		return Volume{}, err
	}
	held, err := s.Hold(ctx)
	if err != nil {
		return Volume{}, err
	}
	defer held.Unlock()
	if known, err := s.Get(v.Name); !errors.Is(err, ErrUnknown) {
		return known, err
	}
	err = s.make(v, marked)
	if errors.Is(err, fs.ErrExist) { // somebody was quicker
		return s.Get(v.Name)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	return v, nil
}

// make makes the volume's directory aside, and names it.
func (s *Store) make(v Volume, marked bool) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(s.dir, atomicfile.Prefix)
	if err != nil {
		return err
	}
	err = fill(aside, v)
	if err == nil && marked {
		err = os.WriteFile(filepath.Join(aside, makeMarker), nil, 0o600)
	}
	if err == nil {
		err = os.Rename(aside, s.own(v.Name))
	}
	if err != nil {
		return errors.Join(err, removal.All(aside))
	}
	return nil
}

// fill writes what a new volume has. Its data are anybody's to enter, as docker
// has it; the store itself is not.
func fill(dir string, v Volume) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteUnsynced(filepath.Join(dir, metaFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	data := filepath.Join(dir, dataDir)
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	return os.Chmod(data, 0o755) // whatever the umask is
}

// Get gives what is known of a volume.
func (s *Store) Get(name string) (Volume, error) {
	if CheckName(name) != nil {
		return Volume{}, fmt.Errorf("get %s: %w", name, ErrUnknown)
	}
	data, err := os.Lstat(s.Data(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !data.IsDir() {
		return Volume{}, fmt.Errorf("get %s: %w", name, ErrUnknown)
	}
	if err != nil {
		return Volume{}, err
	}
	// The data count. A power failure may have left an empty file of the rest.
	v := Volume{Created: data.ModTime().UTC()}
	if text, err := os.ReadFile(filepath.Join(s.own(name), metaFile)); err == nil {
		_ = json.Unmarshal(text, &v)
	}
	v.Name = name
	return v, nil
}

// List gives all volumes, in the order of their names.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Volume
	for _, e := range entries {
		v, err := s.Get(e.Name())
		if errors.Is(err, ErrUnknown) {
			continue // it is being made or removed
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
