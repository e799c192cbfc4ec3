package emulate

import (
	"encoding/binary"

	"github.com/builder-oci/builder/internal/spool"
)

// kept is the owner of a file that can't, or isn't to, bear it.
type kept struct {
	keptOwner
	path string // as in [File]
}

type keptOwner struct {
	Owner Owner
	Mount uint64
	Times Times
	Kind  uint32
}

// keptOwners are those of all such files. One program may give owners to any number of
// links, so they are kept out of memory.
type keptOwners struct {
	files *spool.Map
	any   bool  // there are some of the root file system
	err   error // the first of reading and writing them
}

func newKept(temp string) *keptOwners { return &keptOwners{files: spool.NewMap(temp)} }

func (o *keptOwners) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *keptOwners) get(at inode) (k kept, ok bool) {
	text, ok, err := o.files.Get(at.key())
	if err == nil && ok {
		k, err = parseKept(text)
	}
	if err != nil {
		o.fail(err)
		return kept{}, false
	}
	return k, ok
}

func (o *keptOwners) set(at inode, k kept) error {
	text, err := binary.Append(nil, binary.NativeEndian, k.keptOwner)
	if err == nil {
		err = o.files.Set(at.key(), string(append(text, k.path...)))
	}
	if err != nil {
		o.fail(err)
	}
	return err
}

func (o *keptOwners) drop(at inode) {
	if err := o.files.Delete(at.key()); err != nil {
		o.fail(err)
	}
}

// key is the inode as a name of a [spool.Map].
func (i inode) key() string {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], i.dev)
	binary.NativeEndian.PutUint64(b[8:], i.ino)
	return string(b[:])
}

func inodeOfKey(key string) inode {
	b := []byte(key)
	return inode{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])}
}

func parseKept(text string) (k kept, err error) {
	n, err := binary.Decode([]byte(text), binary.NativeEndian, &k.keptOwner)
	if err == nil {
		k.path = text[n:]
	}
	return k, err
}

// Files are links and special files of the root file system whose owner was set. They
// are in a file, which whoever gets them closes. Nil ones are none.
type Files struct {
	kept  *keptOwners
	mount uint64
}

// Each calls fn for all files, in no order.
func (f *Files) Each(fn func(File) error) error {
	if f == nil {
		return nil
	}
	if f.kept.err != nil {
		return f.kept.err
	}
	return f.kept.files.Each(func(key, text string) error {
		k, err := parseKept(text)
		if err != nil || k.Mount != f.mount {
			return err
		}
		return fn(File{Path: k.path, Inode: inodeOfKey(key).ino, Times: k.Times, Owner: k.Owner})
	})
}

// Close gives everything back.
func (f *Files) Close() error {
	if f == nil {
		return nil
	}
	return f.kept.files.Close()
}
