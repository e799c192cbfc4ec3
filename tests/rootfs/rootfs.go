// Package rootfs makes root file systems for tests, benchmarks and the demo
// from what is on this machine and in its distribution's mirrors, so that
// nothing is taken from a registry.
package rootfs

import (
	"archive/tar"
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Busybox writes the smallest root file system that a shell runs in, as a
// tarball. It is the same at each call: times are fixed. /root, /tmp and /srv
// have modes and owners that are easily lost.
func Busybox(file string) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w: install busybox-static", err)
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("listing busybox's applets: %w", err)
	}

	t, err := Create(file)
	if err != nil {
		return err
	}
	for _, name := range []string{"bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "var", "var/www"} {
		t.Dir(name, 0o755, 0)
	}
	t.Dir("root", 0o700, 0)
	t.Dir("tmp", 0o1777, 0)
	t.Dir("srv", 0o750, 33)
	t.File("etc/passwd", 0o644, []byte(
		"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	t.File("etc/group", 0o644, []byte("root:x:0:\nstaff:x:50:www-data\nwww-data:x:33:\nnogroup:x:65534:\n"))
	t.File("bin/busybox", 0o755, program)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			t.Link("bin/"+applet, "busybox")
		}
	}
	return t.Close()
}

//go:embed distribution.sh
var distribution string

// Distribution writes a root file system of this machine's distribution, as a
// tarball: what a slim base image holds, and what args say, which are packages
// and hooks, as distribution.sh describes. It needs mmdebstrap.
func Distribution(file string, args ...string) error {
	cmd := exec.Command("sh", append([]string{"-c", distribution, "distribution.sh", file}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("a root file system of the distribution: %w\n%s", err, out)
	}
	return nil
}

// Cached gives the name of a tarball that write makes, from the caller's cache
// directory, where it is kept for thirty days.
func Cached(name string, write func(file string) error) (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	if made, err := os.Stat(file); err == nil && time.Since(made.ModTime()) < 30*24*time.Hour {
		return file, nil
	}
	return file, write(file)
}

// CacheDir is where root file systems are kept between runs: on a real disk,
// and private to the caller. It is made where it doesn't exist.
func CacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "builder-tests")
	return cache, os.MkdirAll(cache, 0o700)
}

// Tarball is a tar archive in the making, whose entries all bear one fixed
// time. The first error is kept, and given by Close.
type Tarball struct {
	file *os.File
	buf  *bufio.Writer
	tw   *tar.Writer
	err  error
}

// Create begins a tarball. The caller closes it.
func Create(file string) (*Tarball, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	return &Tarball{file: f, buf: buf, tw: tar.NewWriter(buf)}, nil
}

// Dir adds a directory that belongs to a user and the group of the same number.
func (t *Tarball) Dir(name string, mode int64, owner int) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, nil)
}

// File adds a regular file.
func (t *Tarball) File(name string, mode int64, data []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, data)
}

// Link adds a symbolic link.
func (t *Tarball) Link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (t *Tarball) add(h tar.Header, data []byte) {
	if t.err != nil {
		return
	}
	h.ModTime = time.Unix(1_700_000_000, 0)
	h.Size = int64(len(data))
	if t.err = t.tw.WriteHeader(&h); t.err == nil {
		_, t.err = t.tw.Write(data)
	}
}

// Close completes the archive.
func (t *Tarball) Close() error {
	if t.err == nil {
		t.err = t.tw.Close()
	}
	if t.err == nil {
		t.err = t.buf.Flush()
	}
	return errors.Join(t.err, t.file.Close())
}
