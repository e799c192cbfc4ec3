package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/builder-oci/builder/storage/layer"
)

// MountPoint is what a sandbox needs in a tree to mount something over.
type MountPoint struct {
	Path string // absolute, inside the tree
	Dir  bool
}

// placeholder is a name that was made in the upper directory, as it was then.
type placeholder struct {
	path string
	stat fileState
}

// fileState is what changes when somebody uses a file.
type fileState struct {
	ino      uint64
	mode     fs.FileMode
	uid, gid uint32
	size     int64
	mtime    time.Time
}

// MakeMountPoints makes those of points that the tree lacks, before it is
// mounted: links in their paths are followed inside the tree. Neither they nor
// the directories around them shall stand in the layer, so undo, which is called
// once after unmounting, removes what nobody has used, and gives directories
// the times they had before it did.
func (a *Active) MakeMountPoints(points []MountPoint) (undo func() error, err error) {
	view, err := a.View()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	missing, err := missingPoints(view, points)
	if err != nil {
		return nil, err
	}
	if len(missing) == 0 {
		return func() error { return nil }, nil
	}
	upper, err := os.OpenRoot(a.Upper())
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	made := absent(upper, missing)
	before, err := times(upper, made)
	if err != nil {
		return nil, err
	}
	w := a.Writer()
	for _, e := range missing {
		if err := w.Write(e); err != nil {
			return nil, errors.Join(fmt.Errorf("mount point /%s: %w", e.Path, err), w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("mount points: %w", err)
	}
	if err := restore(upper, before); err != nil {
		return nil, err
	}
	placed, err := states(upper, made)
	if err != nil {
		return nil, err
	}
	return func() error { return removeUnused(a.Upper(), placed) }, nil
}

// missingPoints gives an entry for each mount point that isn't there and for
// each directory above one, sorted.
func missingPoints(view *layer.Tree, points []MountPoint) ([]*layer.Entry, error) {
	missing := map[string]*layer.Entry{}
	for _, p := range points {
		where, err := view.Resolve(p.Path, true)
		if err != nil {
			return nil, fmt.Errorf("mount point %s: %w", p.Path, err)
		}
		for dir := p.Dir; where != "" && where != "."; where, dir = path.Dir(where), true {
			if missing[where] != nil {
				break
			}
			_, err := view.Lstat(where)
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			missing[where] = placeholderEntry(where, dir)
		}
	}
	entries := make([]*layer.Entry, 0, len(missing))
	for _, e := range missing {
		entries = append(entries, e)
	}
	// A directory comes before what is in it.
	slices.SortFunc(entries, func(a, b *layer.Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries, nil
}

func placeholderEntry(where string, dir bool) *layer.Entry {
	e := &layer.Entry{Path: where, Type: layer.TypeReg, Mode: 0o755, ModTime: time.Now()}
	if dir {
		e.Type = layer.TypeDir
	}
	return e
}

// absent gives the paths that writing entries will make in the upper
// directory: theirs, and those of directories that are only below so far.
// What is in a directory comes before it.
func absent(upper *os.Root, entries []*layer.Entry) []string {
	var paths []string
	for _, e := range entries {
		for p := e.Path; p != "."; p = path.Dir(p) {
			if _, err := upper.Lstat(p); err == nil {
				break
			}
			paths = append(paths, p)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) })
	return slices.Compact(paths)
}

// times gives the times of the directories that are there around paths.
func times(upper *os.Root, paths []string) (map[string]time.Time, error) {
	dirs := map[string]time.Time{}
	for _, p := range paths {
		dir := path.Dir(p)
		st, err := upper.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		dirs[dir] = st.ModTime()
	}
	return dirs, nil
}

func restore(upper *os.Root, dirs map[string]time.Time) error {
	for dir, mtime := range dirs {
		err := upper.Chtimes(dir, mtime, mtime)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func states(upper *os.Root, paths []string) ([]placeholder, error) {
	placed := make([]placeholder, 0, len(paths))
	for _, p := range paths {
		st, err := upper.Lstat(p)
		if err != nil {
			return nil, err
		}
		placed = append(placed, placeholder{p, stateOf(st)})
	}
	return placed, nil
}

func stateOf(st fs.FileInfo) fileState {
	sys := st.Sys().(*syscall.Stat_t)
	state := fileState{
		ino: sys.Ino, mode: st.Mode(), uid: sys.Uid, gid: sys.Gid, mtime: st.ModTime(),
	}
	if !st.IsDir() {
		state.size = st.Size()
	}
	return state
}

// removeUnused removes what is as it was placed, and empty. The instruction may
// have put links in the way of any path; os.Root follows none out of the upper
// directory, and what one leads to inside isn't what was placed.
func removeUnused(dir string, placed []placeholder) error {
	upper, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer upper.Close()
	paths := make([]string, 0, len(placed))
	for _, p := range placed {
		paths = append(paths, p.path)
	}
	// A directory that the instruction has changed has its time from that, not
	// from the removal; and one that it hasn't is to be recognized.
	before, err := times(upper, paths)
	if err != nil {
		return err
	}
	for _, p := range placed {
		st, err := upper.Lstat(p.path)
		if err != nil || stateOf(st) != p.stat {
			continue
		}
		if err := upper.Remove(p.path); err != nil {
			if errors.Is(err, syscall.ENOTEMPTY) {
				continue
			}
			return fmt.Errorf("remove mount point: %w", err)
		}
		parent := path.Dir(p.path)
		if err := restore(upper, map[string]time.Time{parent: before[parent]}); err != nil {
			return err
		}
	}
	return nil
}
