package layer

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// parent gives the real path of a directory that the tar names, and makes it
// where the tar didn't.
func (u *unpacker) parent(dir string) (string, error) {
	found, _, err := u.locate(dir, true)
	return found, err
}

// find is like parent but makes nothing; it says whether the directory is
// there.
func (u *unpacker) find(dir string) (string, bool, error) { return u.locate(dir, false) }

// locate goes down to a directory. Links of this layer are followed, within
// the layer's root; to the root of the tree they are what lies in this
// directory, and never what lies outside it.
func (u *unpacker) locate(dir string, create bool) (string, bool, error) {
	if dir == "" {
		return "", true, nil
	}
	if place, ok := u.place(dir); ok {
		return place, true, nil
	}
	at, links, found := "", 0, true
	rest := strings.Split(dir, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at, _ = split(at)
			continue
		}
		target, state, err := u.step(at, name, create)
		if err != nil {
			return "", false, err
		}
		if state != isLink {
			at = join(at, name)
			found = found && state == isDir
			continue
		}
		if links++; links > maxLinks {
			return "", false, fmt.Errorf("malformed layer: %q: %w", dir, unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if create {
		// Not what was only looked for: that may be through a lower link,
		// which the first file to be written there replaces.
		if len(u.places) >= mostPlaces {
			clear(u.places)
		}
		u.places[dir] = at
	}
	return at, found, nil
}

// place is where a directory was found before.
func (u *unpacker) place(dir string) (string, bool) {
	if u.placesAt != u.removals {
		u.placesAt = u.removals
		clear(u.places)
	}
	at, ok := u.places[dir]
	return at, ok
}

type stepState int

const (
	isDir stepState = iota
	isLink
	isMissing
)

// step looks at one name on the way to a directory.
func (u *unpacker) step(at, name string, create bool) (target string, state stepState, err error) {
	p := join(at, name)
	if _, ok := u.fds[p]; ok {
		return "", isDir, nil
	}
	above, err := u.open(at)
	if err != nil {
		if !create && errors.Is(err, unix.ENOENT) {
			return "", isMissing, nil
		}
		return "", 0, err
	}
	fd, err := openDir(above, name)
	switch err {
	case nil:
		u.fds[p] = fd
		return "", isDir, u.keepTime(p, fd)
	case unix.ENOENT:
		if !create {
			return "", isMissing, nil
		}
		return "", isDir, u.imply(p)
	case unix.ENOTDIR, unix.ELOOP:
		return u.stepOver(p, above, name, create)
	}
	return "", 0, err
}

// stepOver deals with a name on the way that isn't a directory.
func (u *unpacker) stepOver(p string, above int, name string, create bool) (string, stepState, error) {
	var st unix.Stat_t
	if err := lstatAt(above, name, &st); err != nil {
		return "", 0, err
	}
	lowers, err := u.isLowers(p)
	if err != nil {
		return "", 0, err
	}
	switch {
	case typeOf(st.Mode) == TypeSymlink && (!create || !lowers):
		target, err := readlinkAt(above, name)
		return target, isLink, err
	case !create && hidesLower(&st):
		return "", isMissing, nil
	case lowers || hidesLower(&st):
		return "", isDir, u.imply(p)
	}
	return "", 0, fmt.Errorf("malformed layer: /%s is no directory: %w", p, unix.ENOTDIR)
}

// imply makes a directory that no entry has described so far.
func (u *unpacker) imply(p string) error {
	if _, err := u.mkdir(p); err != nil {
		return err
	}
	return errors.Join(u.mark(p), u.pending.imply(p), u.setLate(p, impliedDir(p, u.o.Time)))
}
