package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Directories get what is due to them while others still come, and files go into
// them afterwards all the same.
func TestManyDirectoriesAreFinishedAsTheyCome(t *testing.T) {
	const (
		atOnce = 256
		dirs   = 3 * atOnce // a half of which can't be finished early
	)
	var entries []*Entry
	for i := range dirs {
		entries = append(entries, with(directory(fmt.Sprintf("d/%05d", i)), func(e *Entry) {
			switch i % 4 {
			case 1:
				e.Mode = 0o500
			case 2:
				e.Mode, e.GID = 0o2775, 7
			case 3:
				e.UID, e.Xattrs = 5, map[string]string{"user.a": "b"}
			}
		}))
	}
	for i := range 8 {
		entries = append(entries,
			file(fmt.Sprintf("d/%05d/f", i), "x"),
			&Entry{Path: fmt.Sprintf("d/%05d/l", i+8), Type: TypeLink, Mode: 0o644, Linkname: fmt.Sprintf("d/%05d/f", i), ModTime: written},
			file(fmt.Sprintf("d/%05d/g", i), "y"))
	}
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.maxLate = atOnce
		most := 0
		layer := s.write(func(w *DirWriter) {
			for _, e := range entries {
				must(t, w.Write(e))
				most = max(most, len(w.s.late))
			}
		})
		if most > atOnce+16 {
			t.Errorf("%s: something was due to %d directories at once", flavor, most)
		}
		want := packed(t, Differing(sortedEntries(entries), NewTree(nil)), TimeRule{})
		if got := packed(t, layer, TimeRule{}); !bytes.Equal(got, want) {
			t.Errorf("%s: %s", flavor, difference(want, got))
		}
		unpacked := newStack(t, flavor)
		unpacked.maxLate = atOnce
		unpacked.unpack(want)
		same(t, treeList(t, s.tree(), true), treeList(t, unpacked.tree(), true))
	}
}

// A directory that only a link's target was looked for in keeps its time when
// something is written there afterwards.
func TestADirectoryOfALinksTargetKeepsItsTime(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		s.write(func(w *DirWriter) {
			must(t, w.Write(&Entry{Path: "keep/l", Type: TypeLink, Linkname: "srv/data/a"}))
			must(t, w.Write(file("srv/data/n", "x")))
		})
		n, err := s.tree().Lstat("srv/data")
		must(t, err)
		if got := n.ModTime.Unix(); got != 981173106 {
			t.Errorf("%s: it has the time %d", flavor, got)
		}
	}
}

// What stands at a path is what the tree shows there in the end.
func TestTheWriterTellsWhatStands(t *testing.T) {
	for _, tc := range writes {
		for _, flavor := range flavors {
			s := newStack(t, flavor)
			s.run(shell(t, base))
			paths := []string{"", "nothing", "nothing/x", "bin/tool", "etc/hosts/x", "srv/link", "srv/pipe", "srv/data/a", "srv/data/deep/c", "keep/d", "usr/bin/tool"}
			type standing struct {
				kind byte
				link string
			}
			stood := map[string]standing{}
			s.write(func(w *DirWriter) {
				for _, e := range tc.entries {
					must(t, w.Write(e))
					paths = append(paths, e.Path)
				}
				for _, path := range paths {
					kind, link, err := w.Standing(path)
					must(t, err)
					stood[path] = standing{kind, link}
				}
			})
			tree := s.tree()
			for path, got := range stood {
				var want standing
				if n, err := tree.Lstat(path); err == nil {
					want = standing{n.Type, n.Linkname}
				}
				if got != want {
					t.Errorf("%s, %s: at %s stands %+v, want %+v", tc.name, flavor, path, got, want)
				}
			}
			_ = tree.Close()
		}
	}
}

// The root of a layer keeps the time that its tar says, also where something in it
// is only settled by the layers below.
func TestTheRootKeepsItsTimeWhenALayerIsFixed(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		root := with(directory(""), func(e *Entry) { e.ModTime = written.AddDate(-3, 0, 0) })
		s.unpack(packed(t, sortedEntries([]*Entry{root, {Path: "gone", Whiteout: true}, file("a", "x")}), TimeRule{}))
		n, err := s.tree().Lstat("")
		must(t, err)
		if !n.ModTime.Equal(root.ModTime) {
			t.Errorf("%s: it has the time %s, want %s", flavor, n.ModTime, root.ModTime)
		}
	}
}

// However many directories have names that are deleted, few are open at a time.
func TestDeletionsInManyDirectoriesOpenFew(t *testing.T) {
	const dirs = 1200
	var below, single, all []tar.Header
	for i := range dirs {
		dir := fmt.Sprintf("d/%04d", i)
		below = append(below, fileHeader(dir+"/f", "x"))
		single = append(single, fileHeader(dir+"/.wh.f", ""))
		all = append(all, fileHeader(dir+"/g", "x"))
	}
	all = append(all, fileHeader("d/.wh..wh..opq", ""))

	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	less := limit
	less.Cur = 700
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &less))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		for want, headers := range [][]tar.Header{single, all} {
			s.unpack(tarOf(t, below...))
			s.unpack(tarOf(t, headers...))
			tree := s.tree()
			for i := range dirs {
				if names, err := tree.ReadDir(fmt.Sprintf("d/%04d", i)); err != nil || len(names) != want {
					t.Fatalf("%s: directory %d has %v (%v)", flavor, i, names, err)
				}
			}
			_ = tree.Close()
		}
	}
}
