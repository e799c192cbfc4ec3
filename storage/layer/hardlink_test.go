package layer

import (
	"strings"
	"testing"
)

// hardLinkCases change files that have several names in the layer below. The
// kernel's overlay and vfs part the names; under FUSE they stay one file, in
// the layer as in the instruction's eyes.
var hardLinkCases = []struct {
	name, script string
	// What stands in the layer. Where kept is empty, FUSE decides in what form
	// the names of parted stand in it.
	parted, kept string
	after        string // what the next instruction must find
}{
	{
		"one name is written to", "echo more >> h2",
		"f h2\n", "i d/\nf d/h4\nh h1 -> d/h4\nh h2 -> d/h4\nh h3 -> d/h4\n",
		"test \"$(tail -n1 h2)\" = more",
	},
	{
		"one name gets another mode", "chmod 600 h3",
		"f h3\n", "i d/\nf d/h4\nh h1 -> d/h4\nh h2 -> d/h4\nh h3 -> d/h4\n",
		"test $(stat -c %a h3) = 600",
	},
	{
		"all get another owner", "chown -R 5:6 h1 h2 h3 d",
		// FUSE may have copied the file up more than once.
		"d d/\nf d/h4\nf h1\nf h2\nf h3\n", "",
		"test \"$(stat -c %u:%g h1 h2 h3 d/h4 | sort -u)\" = 5:6",
	},
	{
		"one is deleted and another written to", "rm h1; echo more >> h2",
		"w h1\nf h2\n", "i d/\nf d/h4\nw h1\nh h2 -> d/h4\nh h3 -> d/h4\n",
		"test \"$(tail -n1 h2)\" = more; test ! -e h1",
	},
	{
		"one is replaced", "echo new > n; mv n h1",
		"f h1\n", "f h1\n",
		"test \"$(cat h1)\" = new; test \"$(cat h2 h3 d/h4 | sort -u)\" = old",
	},
}

func TestHardLinksOfLowerLayers(t *testing.T) {
	for _, tc := range hardLinkCases {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			for _, flavor := range flavors {
				s := newStack(t, flavor)
				s.run(shell(t, "mkdir d; echo old > h1; ln h1 h2; ln h1 h3; ln h1 d/h4; touch -d 2001-01-01 h1 d"))
				got := listing(t, s.run(shell(t, tc.script)))
				want := tc.parted
				if flavor == Fuse && tc.kept == "" {
					got, want = pathsOf(got), pathsOf(want)
				} else if flavor == Fuse {
					want = tc.kept
				}
				if got != want {
					t.Errorf("%s: the layer has\n%swant\n%s", flavor, got, want)
				}
				agree(t, s)
				s.run(shell(t, tc.after))
			}
		})
	}
}

// pathsOf leaves of a listing the names alone.
func pathsOf(listing string) string {
	var paths []string
	for line := range strings.Lines(listing) {
		paths = append(paths, strings.Fields(line)[1])
	}
	return strings.Join(paths, " ") + "\n"
}

// agree holds the next mount against the merged view.
func agree(t *testing.T, s *stack) {
	t.Helper()
	if s.flavor == VFS {
		return
	}
	upper := s.mkdir("upper")
	must(t, InitRoot(upper, s.tree(), s.options()))
	same(t, treeList(t, s.tree(), true), dirList(t, s.mount(upper), true))
}

// TestWrittenHardLinkReadsRightAbove is the case in which fuse-overlayfs 1.10
// mixes two names' contents up where its marks are left on the files.
func TestWrittenHardLinkReadsRightAbove(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, "echo old > h1; ln h1 h2; ln h1 h3"))
		s.run(shell(t, "echo something longer >> h2"))
		s.run(shell(t, "test \"$(cat h2)\" = \"$(printf 'old\\nsomething longer')\"; echo x > y"))
		s.run(shell(t, "echo again >> h3"))
		s.run(shell(t, "test \"$(tail -n1 h3)\" = again; test $(wc -l < h2) -ge 2"))
	}
}
