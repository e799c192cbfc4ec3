package layer

import (
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNothingCopiedUpKeepsItsMark holds what steps leave under FUSE against the
// short look that says whether there is anything to strip.
func TestNothingCopiedUpKeepsItsMark(t *testing.T) {
	for _, tc := range []struct {
		script  string
		touched bool
	}{
		{"mkdir new; echo x > new/file; ln -s h1 link", false},
		{"echo x > d/file; mkdir d/sub", false},
		{"echo more >> h1", true},
		{"mkdir new; mv h1 new/moved", true},
		{"mkdir new; mv h1 new/moved; mkdir h1", true},
		{"mkdir new; mv h1 new/moved; echo x > h1", true},
		{"mkdir new; ln h1 new/linked", true},
		{"mkdir new; mv d/f new/moved; rm -r d; mkdir d; echo x > d/g", true},
		{"rm h1", true},
	} {
		t.Run(tc.script, func(t *testing.T) {
			s := newStack(t, Fuse)
			s.run(shell(t, "echo old > h1; mkdir d; echo f > d/f"))
			s.run(shell(t, tc.script))
			upper, parent := s.layers[0], NewTree(s.layers[1:])
			touched, err := touchesLower(t.Context(), upper, parent)
			must(t, err)
			if touched != tc.touched {
				t.Errorf("touches what lies below: %v", touched)
			}
			must(t, filepath.WalkDir(upper, func(p string, _ fs.DirEntry, err error) error {
				if _, e := unix.Lgetxattr(p, fuseOrigin, nil); e == nil {
					t.Errorf("%s has its mark still", p)
				}
				return err
			}))
		})
	}
}
