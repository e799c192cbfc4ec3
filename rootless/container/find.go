package container

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/fault"
)

// ErrUnknown is behind the error about a container that isn't there.
var ErrUnknown = errors.New("No such container") //nolint:staticcheck // docker's words

// Unknown is the error about a container that isn't there: ErrUnknown, with what
// it was called.
func Unknown(ref string) error {
	return fault.New("builder ps -a    # lists all containers", "%w: %s", ErrUnknown, ref)
}

// Find gives the container that ref means, in the directory dir of all
// containers: by its name, its id, or the unambiguous beginning of one. Where
// there is none its error is [Unknown].
func Find(dir, ref string) (Config, State, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Config{}, State{}, err
	}
	var ids []string
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || strings.HasPrefix(id, atomicfile.Prefix) {
			continue
		}
		config, state, err := Load(dir, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended meanwhile
		}
		if err != nil {
			return config, state, err
		}
		if ref != "" && (ref == config.Name || ref == id) {
			return config, state, nil
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return Config{}, State{}, Unknown(ref)
	case 1:
		return Load(dir, ids[0])
	}
	return Config{}, State{}, fault.New("give more of its id: "+strings.Join(ids, "\nor "), "%s is the beginning of %d containers' ids", ref, len(ids))
}
