package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/spool"
	"github.com/builder-oci/builder/storage/cache"
)

// digest gives the digest of what the selection holds: for each entry its path
// below the source, type, mode, owner, link target, xattrs and content, and
// which are names of one file. Times are left out, so that two checkouts of the
// same files are the same.
func (s *selection) digest(ctx context.Context) (digest.Digest, error) {
	h := sha256.New()
	known := s.digests != nil
	if !known {
		s.digests = spool.NewTable(s.temp)
	}
	for i := range s.items {
		it := &s.items[i]
		if it.remote != nil {
			s.digestRemote(h, it)
			continue
		}
		if s.in.Extract && it.content != nil {
			writeField(h, "here-document") // which ADD never unpacks
		}
		err := s.batches(ctx, it, func(batch []told) error {
			if !known {
				if err := s.digestFiles(ctx, it, filesOf(batch)); err != nil {
					return err
				}
			}
			for _, t := range batch {
				if err := s.write(h, t); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// told is an entry of a source, or with nil the source.
type told struct {
	src  *source
	file *File
}

func filesOf(batch []told) []*File {
	files := make([]*File, 0, len(batch))
	for _, t := range batch {
		if t.file != nil {
			files = append(files, t.file)
		}
	}
	return files
}

// write writes what is digested of an entry or source.
func (s *selection) write(h hash.Hash, t told) error {
	if t.file == nil {
		writeField(h, t.src.name)
		writeField(h, string(t.src.top.Type))
		return nil
	}
	d, err := s.digestOf(t.file)
	if err != nil {
		return err
	}
	text := describe(&t.file.Entry)
	first, another, err := s.names.isAnother(t.file)
	if err != nil {
		return err
	}
	if another {
		text += fmt.Sprintf(" = %d", first)
	}
	writeField(h, t.src.rel(t.file))
	writeField(h, text)
	writeField(h, string(d))
	return nil
}

// batches calls fn with some entries of an item after the others.
func (s *selection) batches(ctx context.Context, it *item, fn func([]told) error) error {
	batch := make([]told, 0, min(2*it.count+it.sourceCount(), mostKept))
	err := s.tell(ctx, it, func(src *source, f *File) error {
		if batch = append(batch, told{src, f}); len(batch) < cap(batch) {
			return nil
		}
		err := fn(batch)
		batch = batch[:0]
		return err
	})
	if err != nil || len(batch) == 0 {
		return err
	}
	return fn(batch)
}

// digestFiles reads files and notes their digests.
func (s *selection) digestFiles(ctx context.Context, it *item, files []*File) error {
	read := digestAll
	if it.files != nil {
		read = it.files.Digests
	}
	digests, err := read(ctx, files)
	if err != nil {
		return err
	}
	for i, d := range digests {
		if d == "" {
			continue
		}
		var row spool.Row
		if n, err := hex.Decode(row[:], []byte(d.Encoded())); err != nil || n != len(row) {
			return fmt.Errorf("%s has the digest %s, which is none of sha256", files[i].Path, d)
		}
		if err := s.digests.Set(files[i].place, row); err != nil {
			return err
		}
	}
	return nil
}

// digestOf gives the digest of a file's content, once it is known, and "" for all
// other entries.
func (s *selection) digestOf(f *File) (digest.Digest, error) {
	row, err := s.digests.Get(f.place)
	if err != nil || row == (spool.Row{}) {
		return "", err
	}
	return digest.NewDigestFromBytes(digest.SHA256, row[:]), nil
}

// inputs yields the entries for the step's record, by their paths in the source.
// They only explain it, and so they end early where one can't be read again.
func (s *selection) inputs(yield func(cache.Input) bool) {
	paths := spool.NewTexts(s.temp) // of first names
	defer paths.Close()
	for i := range s.items {
		it := &s.items[i]
		if it.remote != nil {
			if !yield(s.inputRemote(it)) {
				return
			}
			continue
		}
		err := s.each(context.Background(), it, func(f *File) error {
			value := describe(&f.Entry)
			another, err := s.another(f, paths)
			if err != nil {
				return err
			}
			value += another
			d, err := s.digestOf(f)
			if err != nil {
				return err
			}
			if d != "" {
				value += " " + string(d)
			}
			if !yield(cache.Input{Name: "file:" + legible(f.Path), Value: value}) {
				return errNoMore
			}
			return nil
		})
		if err != nil {
			return
		}
	}
}

// another says of which earlier entry one is another name. It is asked of all in
// their order.
func (s *selection) another(f *File, paths *spool.Texts) (string, error) {
	first, several, err := s.names.first(f)
	switch {
	case err != nil || !several:
		return "", err
	case first == f.place:
		return "", paths.Set(placeKey(first), f.Path)
	}
	path, _, err := paths.Get(placeKey(first))
	return fmt.Sprintf(" = %q", path), err
}

// errNoMore ends a walk.
var errNoMore = errors.New("no more")

// close gives back what the selection holds beside memory.
func (s *selection) close() {
	_ = s.names.close() // of no further use
	if s.digests != nil {
		_ = s.digests.Close() // nor are they
	}
}
