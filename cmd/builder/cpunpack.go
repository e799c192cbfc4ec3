package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/archive"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage/layer"
)

// unpackAt unpacks a tar of one file or directory. Its first entry tells which of
// the two it is: with that settle says where it goes, and open gives what unpacks
// it there.
func unpackAt(ctx context.Context, r io.Reader, settle func(isDir bool) (landing, error), open func(dir string) (*archive.Unpacker, error)) (err error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if errors.Is(err, io.EOF) {
		err = errNothing
	}
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		return fault.New("show it to a container: --device /dev/NAME", "%s is a device, which only root can copy", path.Base(h.Name))
	}
	to, err := settle(h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	u, err := open(to.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	first := path.Clean(h.Name)
	for ; err == nil; h, err = t.Next() {
		h.Name = to.renamed(first, h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = to.renamed(first, h.Linkname)
		}
		if err := u.Add(ctx, h, t); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// renamed gives an entry of a tar whose first one is called first another name.
func (l landing) renamed(first, name string) string {
	switch {
	case l.rename == "":
		return name
	case first == ".":
		return l.rename + "/" + name
	}
	return l.rename + strings.TrimPrefix(path.Clean(name), first)
}

// unpackHere unpacks it on this machine, as the user's.
func unpackHere(ctx context.Context, r io.Reader, to string) error {
	return unpackAt(ctx, r, func(isDir bool) (landing, error) { return land(thisMachine{}, to, isDir) },
		func(dir string) (*archive.Unpacker, error) {
			f, err := os.Open(dir)
			if err != nil {
				return nil, err
			}
			return archive.Beneath(f), nil
		})
}

// copyInside is the container's side: it packs to the standard output, or unpacks
// from the standard input.
func (k *copying) copyInside(files *keptFiles) (err error) {
	root, closeRoot, err := files.openRoot(k.c.Context, k.into)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRoot()) }()
	record := !files.mapping.Exact()
	switch {
	case !k.into:
		err = k.packInside(root, record)
	case k.here == "-":
		err = k.unpackStream(root, record)
	default:
		err = k.unpackInside(root, record)
	}
	return k.words(err)
}

// words puts errors of paths into docker's words.
func (k *copying) words(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoSuchFile):
		var at *fs.PathError
		name := k.inside
		if errors.As(err, &at) && k.into {
			name = at.Path
		}
		return fault.New("", "Could not find the file %s in container %s", name, k.container)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("container rootfs, or a mounted volume, is marked read-only: %w", err)
	case k.into && k.here != "-" && errors.Is(err, io.ErrUnexpectedEOF):
		return exitStatus(1) // who packs tells why
	}
	return err
}

// path is the one in the container, from its root.
func (k *copying) path() string { return "/" + strings.TrimLeft(k.inside, "/") }

// asTold leaves a file to whom its entry names.
func asTold(uid, gid int) (int, int) { return uid, gid }

func (k *copying) packInside(root *archive.Root, recorded bool) error {
	p, err := locate(root, k.path(), k.c.Bool("follow-link"))
	if err != nil {
		return err
	}
	source, err := p.source(root.OpenDir)
	if err != nil {
		return err
	}
	defer func() { _ = source.Dir.Close() }()
	source.Recorded = recorded
	return archive.Pack(k.c.Context, k.c.App.Writer, source)
}

func (k *copying) unpackInside(root *archive.Root, record bool) error {
	err := unpackAt(k.c.Context, os.Stdin, func(isDir bool) (landing, error) { return land(root, k.path(), isDir) },
		func(dir string) (*archive.Unpacker, error) {
			u := archive.In(root, dir)
			u.Owner, u.Record = asTold, record
			return u, nil
		})
	if errors.Is(err, errNothing) {
		return exitStatus(1)
	}
	return err
}

// unpackStream unpacks the user's own tar, which may be compressed, and keeps its
// owners.
func (k *copying) unpackStream(root *archive.Root, record bool) (err error) {
	p := copyPlace{path: path.Clean(k.path())}
	if err := p.look(root, true); err != nil {
		return err
	}
	if !p.exists || p.mode != fs.ModeDir {
		return fmt.Errorf("destination \"%s:%s\" must be a directory", k.container, k.inside)
	}
	plain, _, err := layer.Decompress(os.Stdin)
	if err != nil {
		return err
	}
	defer plain.Close()
	u := archive.In(root, p.path)
	u.Owner, u.Record = asTold, record
	defer func() { err = errors.Join(err, u.Close()) }()
	t := tar.NewReader(plain)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the standard input: %w", err)
		}
		if err := u.Add(k.c.Context, h, t); err != nil {
			return err
		}
	}
}

// openRoot opens the container's root directory as its programs see it: with the
// volumes in their places.
func (k *keptFiles) openRoot(ctx context.Context, write bool) (*archive.Root, func() error, error) {
	if k.root == "" {
		return k.mountRoot(ctx, write)
	}
	dir := k.root
	if pid := os.Getenv(container.ProcessEnv); pid != "" {
		dir = "/proc/" + pid + "/root"
	}
	root, err := archive.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	return root, root.Close, nil
}
