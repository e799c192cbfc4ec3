package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpack writes a tar into dir, which is empty (or, with flavor VFS, a full
// copy of the layers below), and says what only those layers can complete:
// hand that to [FixImplied] when they are there, and close it. Layers can be unpacked
// side by side in this way.
//
// The tar may be a stranger's. Nothing in it is written outside dir: names that
// climb out are errors, and links are followed within dir only. What Unpack
// can't make as an ordinary user it leaves out: device nodes (of which a
// whiteout remains) and attributes that layers don't keep. An error leaves a
// part of the layer in dir.
func Unpack(ctx context.Context, r io.Reader, dir string, o DirOptions) (*Pending, error) {
	s, err := newSink(dir, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	u := &unpacker{
		sink: s, ctx: ctx, tar: tar.NewReader(bufio.NewReaderSize(r, 128<<10)),
		made: newPathSet(o.Temp), places: map[string]string{},
	}
	defer u.made.close()
	if o.Flavor != VFS {
		u.pending = newPending(o.Temp)
		s.onRemoved = u.pending.removed
	}
	if err := u.all(); err != nil {
		return nil, errors.Join(err, u.pending.Close())
	}
	return u.pending, nil
}

// all unpacks the tar.
func (u *unpacker) all() error {
	if err := u.pending.imply(""); err != nil {
		return err
	}
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the layer's tar: %w", err)
		}
		if err := u.trim(); err != nil {
			return err
		}
		if err := u.entry(h); err != nil {
			return pathError("unpack", h.Name, err)
		}
	}
	if err := u.dropAufsLinks(); err != nil {
		return err
	}
	return u.finish()
}

// ErrTooLarge is behind the error of a layer that holds more than it may.
var ErrTooLarge = errors.New("the layer is too large")

// unpacker is the state of one Unpack.
type unpacker struct {
	*sink
	ctx     context.Context
	tar     *tar.Reader
	pending *Pending // nil for a full copy: the layers below were there all the time
	bytes   int64    // of the files so far
	// made has what this layer wrote, with the directories above it. Only a
	// full copy needs it, where all else is the lower layers'.
	made pathSet
	// places has where the directories named in the tar really are: true for
	// as long as nothing is removed, which could be a link on the way to one.
	places   map[string]string
	placesAt int // removals when places began
}

// mostPlaces is how many places are known at once: a tar mostly stays in a directory
// for a while.
const mostPlaces = 1024

// Read gives the content of the tar's current entry. A few bytes of tar can
// stand for a sparse file of any size, so it ends with the context too.
func (u *unpacker) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.tar.Read(p)
}

func (u *unpacker) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := safeName(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return u.describeRoot(h)
	}
	dirName, base := split(name)
	if passedOver(dirName) {
		return nil
	}
	dir, err := u.parent(dirName)
	if err != nil {
		return err
	}
	p := join(dir, base)
	if hidden, ok := strings.CutPrefix(base, whPrefix); ok {
		return u.delete(dir, base, hidden)
	}
	if err := errors.Join(u.mark(p), u.pending.unlink(p)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return u.link(p, h.Linkname)
	}
	e, err := u.entryOf(p, h)
	if err != nil {
		return err
	}
	if u.bytes += e.Size; u.bytes < 0 || u.o.Most > 0 && u.bytes > u.o.Most {
		return ErrTooLarge
	}
	if e.Type == TypeDir {
		return u.writeDir(p, e)
	}
	return u.file(p, e)
}

// safeName is a header's name as a path in the layer. An absolute one counts
// from the layer's root.
func safeName(name string) (string, error) {
	rel := strings.TrimLeft(name, "/")
	if strings.ContainsRune(rel, 0) {
		return "", fmt.Errorf("malformed layer: the name %q has a zero byte", name)
	}
	c := path.Clean(rel)
	if c == ".." || strings.HasPrefix(c, "../") {
		return "", fmt.Errorf("malformed layer: the name %q leads out of it", name)
	}
	if c == "." || rel == "" {
		return "", nil
	}
	dir, _ := split(c)
	for _, part := range strings.Split(dir, "/") {
		if isReserved(part) && !isAufs(part) {
			return "", fmt.Errorf("malformed layer: %q lies beneath a deleted name", name)
		}
	}
	return c, nil
}

func (u *unpacker) describeRoot(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("malformed layer: its root is not a directory")
	}
	e, err := u.entryOf("", h)
	if err != nil {
		return err
	}
	if err := u.setLate("", e); err != nil {
		return err
	}
	return u.pending.described("")
}

// entryOf turns a header into an entry whose content is the tar's next.
func (u *unpacker) entryOf(p string, h *tar.Header) (*Entry, error) {
	e, ok := FromHeader(p, h, u)
	if !ok {
		return nil, fmt.Errorf("malformed layer: %q has the unknown type %q", h.Name, h.Typeflag)
	}
	return e, nil
}

func (u *unpacker) writeDir(p string, e *Entry) error {
	if _, err := u.mkdir(p); err != nil {
		return err
	}
	if err := u.setLate(p, e); err != nil {
		return err
	}
	return u.pending.described(p)
}

// file writes what isn't a directory. A device node that may not be made
// leaves a whiteout, so that it hides what lies below all the same; and one
// 0:0 is a whiteout to all who stack directories.
func (u *unpacker) file(p string, e *Entry) error {
	if e.Type == TypeChar && e.Devmajor == 0 && e.Devminor == 0 {
		return u.hide(p)
	}
	err := u.put(p, e)
	if (e.Type == TypeChar || e.Type == TypeBlock) && errors.Is(err, unix.EPERM) {
		return u.hide(p)
	}
	return err
}

// hide removes a name here, and hides it where the layers below have it.
func (u *unpacker) hide(p string) error {
	if err := u.clear(p); err != nil || u.o.Flavor == VFS {
		return err
	}
	return u.hideLower(p)
}

// hideLower hides what the layers below have at a name that is free here.
func (u *unpacker) hideLower(p string) error {
	if err := u.pending.hid(p); err != nil {
		return err
	}
	return u.whiteout(p)
}

// delete acts on a name that stands for a deletion. It never touches what the
// same layer brings, in whatever order the two come.
func (u *unpacker) delete(dir, base, hidden string) error {
	if base == whOpaque {
		switch {
		case u.o.Flavor == VFS:
			return u.clearLower(dir)
		case dir == "":
			u.pending.opaqueRoot = true
			return nil
		}
		return u.setOpaque(dir)
	}
	if isAufs(base) {
		return nil
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return fmt.Errorf("malformed layer: %q deletes nothing", base)
	}
	p := join(dir, hidden)
	fd, err := u.open(dir)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = lstatAt(fd, hidden, &st)
	switch {
	case err == unix.ENOENT && u.o.Flavor == VFS:
		return nil
	case err == unix.ENOENT:
		if _, linked, err := u.pending.target(p); err != nil || linked {
			return err
		}
		return u.hideLower(p)
	case err != nil:
		return err
	}
	lowers, err := u.isLowers(p)
	if err != nil {
		return err
	}
	if lowers {
		return u.clear(p)
	}
	if typeOf(st.Mode) == TypeDir {
		return u.delete(p, whOpaque, "")
	}
	return nil
}

// isLowers says whether what is at p is of the layers below, in a full copy.
func (u *unpacker) isLowers(p string) (bool, error) {
	if u.o.Flavor != VFS {
		return false, nil
	}
	made, err := u.made.has(p)
	return err == nil && !made, err
}

// clearLower removes from a directory of a full copy what other layers put
// there.
func (u *unpacker) clearLower(dir string) error {
	if err := u.trim(); err != nil {
		return err
	}
	fd, err := u.open(dir)
	if err != nil {
		return err
	}
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for d := range names.all() {
		p := join(dir, d.name)
		lowers, err := u.isLowers(p)
		switch {
		case err != nil:
		case lowers:
			err = u.clear(p)
		case d.typ == unix.DT_DIR:
			err = u.clearLower(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mark notes that this layer wrote p.
func (u *unpacker) mark(p string) error {
	if u.o.Flavor != VFS {
		return nil
	}
	for ; p != ""; p, _ = split(p) {
		if known, err := u.made.add(p); err != nil || known {
			return err
		}
	}
	return nil
}

// link makes a hard link. A target that this layer hasn't is left to
// [FixImplied].
func (u *unpacker) link(p, linkname string) error {
	name, err := safeName(linkname)
	if err != nil {
		return err
	}
	targetDir, targetBase := split(name)
	targetDir, found, err := u.find(targetDir)
	if err != nil {
		return err
	}
	target := join(targetDir, targetBase)
	if target == p {
		return nil
	}
	if within(target, p) {
		return fmt.Errorf("malformed layer: hard link to %q, which goes when the link replaces %q", linkname, p)
	}
	if below, linked, err := u.pending.target(target); err != nil {
		return err
	} else if linked {
		target, found = below, false
	}
	if found {
		err = u.linkHere(p, targetDir, targetBase)
		if err != unix.ENOENT {
			return err
		}
	}
	if u.o.Flavor == VFS {
		return fmt.Errorf("malformed layer: hard link to %q, which doesn't exist", linkname)
	}
	if err := u.clear(p); err != nil {
		return err
	}
	return u.pending.link(p, target)
}

func (u *unpacker) linkHere(p, targetDir, targetBase string) error {
	from, err := u.open(targetDir)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := lstatAt(from, targetBase, &st); err != nil {
		return err
	}
	if typeOf(st.Mode) == TypeDir || hidesLower(&st) {
		return fmt.Errorf("malformed layer: hard link to %q, which is no file", join(targetDir, targetBase))
	}
	dir, base := split(p)
	fd, err := u.open(dir)
	if err != nil {
		return err
	}
	err = unix.Linkat(from, targetBase, fd, base, 0)
	if err == unix.EEXIST {
		if err = u.clear(p); err == nil {
			err = unix.Linkat(from, targetBase, fd, base, 0)
		}
	}
	if err != nil {
		return err
	}
	return u.linkOwner(p, join(targetDir, targetBase))
}
