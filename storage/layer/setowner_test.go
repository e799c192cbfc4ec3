package layer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Files are found under the names that they have now, by their number or where it
// isn't the one that was seen, by their old name.
func TestOwnersOfLinksAreFound(t *testing.T) {
	for _, links := range []int{6, 5000} { // in memory, and not
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
		var set []SetOwner
		for n := range links {
			path := fmt.Sprintf("d/link-%05d", n)
			must(t, os.Symlink("target", filepath.Join(dir, path)))
			x := statAt(t, dir, path)
			set = append(set, SetOwner{Path: path, Inode: x.Ino, Born: x.Btime, Changed: x.Ctime, Owner: Owner{UID: uint32(n + 1), GID: 7}})
		}
		rename := func(from, to string) { must(t, os.Rename(filepath.Join(dir, from), filepath.Join(dir, to))) }
		rename(set[0].Path, "moved")
		must(t, os.Link(filepath.Join(dir, "moved"), filepath.Join(dir, "second")))
		set[1].Inode = 1 // as in a layer below
		must(t, os.Remove(filepath.Join(dir, set[2].Path)))
		must(t, os.WriteFile(filepath.Join(dir, set[2].Path), nil, 0o600)) // bears its owner itself
		for _, other := range set[3:5] {
			again(t, dir, other.Path)
		}
		set[4].Born = unix.StatxTimestamp{} // as by FUSE
		set[5].Born = unix.StatxTimestamp{}
		want := map[string]Owner{"moved": set[0].Owner, "second": set[0].Owner}
		for n, s := range set {
			if n != 0 && (n < 2 || n > 4) {
				want[s.Path] = s.Owner
			}
		}
		set[2].Inode = 2

		owners := NewOwners(t.TempDir())
		must(t, FindOwners(dir, func(fn func(SetOwner) error) error {
			for _, s := range set {
				if err := fn(s); err != nil {
					return err
				}
			}
			return nil
		}, owners))
		got := map[string]Owner{}
		must(t, owners.changed.Each(func(path, _ string) error {
			o, _, err := owners.Get(path)
			got[path] = Owner{UID: o.UID, GID: o.GID}
			return err
		}))
		if !maps.EqualFunc(got, want, func(a, b Owner) bool { return a.UID == b.UID && a.GID == b.GID }) {
			t.Errorf("%d links: %v; not %v", links, got, want)
		}
		must(t, owners.Close())
	}
}

func statAt(t *testing.T, dir, path string) *unix.Statx_t {
	t.Helper()
	x, err := statxAt(unix.AT_FDCWD, filepath.Join(dir, path))
	must(t, err)
	return x
}

// again makes a link anew, of another time.
func again(t *testing.T, dir, path string) {
	t.Helper()
	for old := statAt(t, dir, path).Ctime; !later(statAt(t, dir, path).Btime, old); {
		must(t, os.Remove(filepath.Join(dir, path)))
		must(t, os.Symlink("target", filepath.Join(dir, path)))
	}
}
