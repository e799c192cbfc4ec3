package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Kept is the marker of a tree that outlives the session which made it: that of
// a container. It is a file in kept/, named by its owner, beside the driver roots.
//
// The tree is written to for as long as its owner likes, while nobody holds the
// store. Whoever clears up takes neither it nor what it stands on.
type Kept struct {
	// Owner is the id of the container.
	Owner string `json:"owner"`
	// Root and ID say where the tree is.
	Root string `json:"root"`
	ID   string `json:"id"`
	// Parent is the key of the tree below, "" for scratch.
	Parent Key `json:"parent,omitempty"`
	// Session made it. Until that has ended the owner may not be there yet.
	Session string `json:"session,omitempty"`
	// Boot is the kernel's boot id when the tree was last laid on one below: that
	// one counts in no other.
	Boot string `json:"boot"`
}

const (
	keptDir = "kept"
	// goingPrefix begins the name of the marker of a tree that is being removed.
	goingPrefix = ".gone-"
)

// KeptDir is the directory of the markers; dir is that of the driver roots.
func KeptDir(dir string) string { return filepath.Join(dir, keptDir) }

// KeptOwners gives the owners of all kept trees below dir.
func KeptOwners(dir string) ([]string, error) {
	names, err := os.ReadDir(KeptDir(dir))
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var owners []string
	for _, name := range names {
		if isOwner(name.Name()) {
			owners = append(owners, name.Name())
		}
	}
	return owners, nil
}

// KeptTrees gives the markers of all kept trees below dir. It is an error where one
// can't be read: nobody knows then which tree it stands for.
func KeptTrees(dir string) ([]*Kept, error) {
	owners, err := KeptOwners(dir)
	if err != nil {
		return nil, err
	}
	list := make([]*Kept, 0, len(owners))
	for _, owner := range owners {
		k, err := ReadKept(dir, owner)
		if errors.Is(err, ErrNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// ReadKept gives the marker of an owner's tree, or ErrNotFound.
func ReadKept(dir, owner string) (*Kept, error) {
	if !isOwner(owner) {
		return nil, fmt.Errorf("tree of %q: %w", owner, ErrNotFound)
	}
	k, err := readKeptFile(filepath.Join(KeptDir(dir), owner))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tree of %s: %w", owner, ErrNotFound)
	}
	if err == nil && k.Owner != owner {
		err = fmt.Errorf("%s is the marker of %q", filepath.Join(KeptDir(dir), owner), k.Owner)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

func readKeptFile(path string) (*Kept, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k := new(Kept)
	if err := json.Unmarshal(data, k); err != nil {
		return nil, fmt.Errorf("%s is unreadable: %w", path, err)
	}
	if !isRoot(k.Root) || !isOwner(k.Root) || !isOwner(k.ID) {
		return nil, fmt.Errorf("%s names no tree", path)
	}
	return k, nil
}

// save puts the marker on stable storage.
func (k *Kept) save(dir string) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(KeptDir(dir), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(KeptDir(dir), k.Owner), append(data, '\n'), 0o600)
}

// RemoveKept removes the tree of an owner, whatever driver has made it. The marker
// loses its name first, so that none ever leads to half a tree: who is killed after
// that leaves the rest to FinishKept. Where there is no such tree it does nothing.
func RemoveKept(dir, owner string) error {
	if !isOwner(owner) {
		return nil
	}
	going := filepath.Join(KeptDir(dir), goingPrefix+owner)
	err := os.Rename(filepath.Join(KeptDir(dir), owner), going)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return finishKept(dir, going)
}

// FinishKept removes the trees whose removal was cut short.
func FinishKept(dir string) error {
	names, err := os.ReadDir(KeptDir(dir))
	errs := []error{ignoreAbsent(err)}
	for _, name := range names {
		if strings.HasPrefix(name.Name(), goingPrefix) {
			errs = append(errs, finishKept(dir, filepath.Join(KeptDir(dir), name.Name())))
		}
	}
	return errors.Join(errs...)
}

// finishKept removes the tree that a marker names, and the marker last. One that
// can't be read names nothing: its tree is for whoever is alone with the store.
func finishKept(dir, going string) error {
	if k, err := readKeptFile(going); err == nil {
		if err := RemoveTree(dir, k.Root, k.ID); err != nil {
			return err
		}
	}
	return ignoreAbsent(os.Remove(going))
}

// isOwner reports whether a word can name a marker: one element of a path that
// isn't hidden.
func isOwner(s string) bool {
	return s != "" && s[0] != '.' && !strings.Contains(s, "/")
}
