package tests

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A base is a root file system that scripts import under its name. Nothing is
// taken from a registry.
var bases = map[string]func() (tarball string, err error){
	"busybox": sync.OnceValues(busybox),
	"debian":  sync.OnceValues(func() (string, error) { return distribution("debian") }),
}

// busybox makes the smallest root file system that a shell runs in. Its times
// are fixed, so that it is the same image at each run.
func busybox() (string, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return "", fmt.Errorf("%w: install busybox-static", err)
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return "", err
	}

	w := newTarball()
	for _, dir := range []string{"bin/", "dev/", "etc/", "home/", "proc/", "sys/", "usr/", "usr/bin/", "var/", "var/www/"} {
		w.add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	w.add(tar.Header{Typeflag: tar.TypeDir, Name: "root/", Mode: 0o700}, nil)
	w.add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	w.add(tar.Header{Typeflag: tar.TypeDir, Name: "srv/", Mode: 0o750, Uid: 33, Gid: 33}, nil)
	w.add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte(
		"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	w.add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte(
		"root:x:0:\nstaff:x:50:www-data\nwww-data:x:33:\nnogroup:x:65534:\n"))
	w.add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			w.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	name := filepath.Join(bench.dir, "busybox.tar")
	return name, w.save(name)
}

//go:embed env/base.sh
var baseScript []byte

// distribution makes a root file system of this machine's distribution, or
// takes the one that an earlier run made in the last thirty days.
func distribution(name string, args ...string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	tarball := filepath.Join(cache, name+".tar")
	made, err := os.Stat(tarball)
	if err == nil && time.Since(made.ModTime()) < 30*24*time.Hour {
		return tarball, nil
	}
	script := filepath.Join(bench.dir, "base.sh")
	if err := os.WriteFile(script, baseScript, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("sh", append([]string{script, tarball}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("a base file system from the distribution: %w\n%s", err, out)
	}
	return tarball, nil
}

// tarball is a tar archive in memory whose entries all bear one fixed time.
type tarball struct {
	buf bytes.Buffer
	tw  *tar.Writer
	err error
}

func newTarball() *tarball {
	t := &tarball{}
	t.tw = tar.NewWriter(&t.buf)
	return t
}

func (t *tarball) add(h tar.Header, data []byte) {
	if t.err != nil {
		return
	}
	h.ModTime = time.Unix(1_700_000_000, 0)
	h.Size = int64(len(data))
	if t.err = t.tw.WriteHeader(&h); t.err == nil {
		_, t.err = t.tw.Write(data)
	}
}

func (t *tarball) save(name string) error {
	if t.err != nil {
		return t.err
	}
	if err := t.tw.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, t.buf.Bytes(), fs.FileMode(0o644))
}
