package stage

import (
	"context"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/storage/layer"
)

// Match is what a pattern of COPY or ADD names: an entry's path in its source
// and the name that it has at its destination ("" for a source's root).
type Match struct{ Name, Path string }

// FileID is the same for all names of one file. It is zero where the file has no
// other.
type FileID struct{ Dev, Ino uint64 }

// FileIDOf gives the id of a regular file.
func FileIDOf(st *unix.Stat_t) FileID {
	if st.Nlink < 2 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return FileID{}
	}
	return FileID{st.Dev, st.Ino}
}

// File is an entry of a source.
type File struct {
	layer.Entry
	ID FileID
	// Origin is what the source itself knows the file by; nil where that is the
	// entry.
	Origin any
	// Ref is what the source gives the file again by, as far as WalkGlob gave it.
	Ref int64

	// place counts a selection's entries, in their order.
	place int
}

// Files is where COPY and ADD take files from: the build context, or the tree
// of another stage or image.
type Files interface {
	// Glob calls fn for each entry that a pattern names, links followed. A pattern
	// without wildcards that names none is an error that says why.
	Glob(pattern string, fn func(Match) error) error
	// Lstat gives the entry at a path, links not followed. The error wraps
	// fs.ErrNotExist where nothing is there.
	Lstat(path string) (*File, error)
	// Walk gives the entry at a path and all below it, in the order of a
	// [layer.Source]: the same ones whenever it is called. They may be kept, though
	// there may be very many; their owners are those that COPY gives them.
	Walk(ctx context.Context, path string, fn func(*File) error) error
	// WalkGlob is Walk for all that a pattern with wildcards names: of one match
	// after the other the entry itself, and what is below it.
	WalkGlob(ctx context.Context, p Pattern, fn func(Match, *File) error) error
	// Again gives an entry that WalkGlob gave for a pattern, by its Ref.
	Again(ctx context.Context, p Pattern, ref int64) (*File, error)
	// Digests gives the digest of each regular file's content and "" for all
	// other entries.
	Digests(ctx context.Context, files []*File) ([]digest.Digest, error)
}

// Pattern says what WalkGlob gives.
type Pattern struct {
	Glob string
	// Below is where in a match it begins, "" for all. The directories that lead
	// there come along. Where one of them is none, or a link, there is nothing.
	Below string
}

// globAll gives all that a pattern names, which isn't much.
func globAll(files Files, pattern string) (found []Match, err error) {
	err = files.Glob(pattern, func(m Match) error {
		found = append(found, m)
		return nil
	})
	return found, err
}

// Source is what a COPY names: where its files come from, before it is known
// whether they are needed at all.
type Source interface {
	// Known gives what is known of the source without building it: its
	// definition, and the outcomes of its steps as far as there are records. It
	// is nil for the build context. Once Files was called it is the whole state.
	Known(ctx context.Context) (*State, error)
	// Files gives the files, building the source where that is needed.
	Files(ctx context.Context) (Files, error)
}
