package tests

import (
	"path/filepath"
	"sync"

	"github.com/builder-oci/builder/tests/rootfs"
)

// A base is a root file system that scripts import under its name.
var bases = map[string]func() (tarball string, err error){
	"busybox": sync.OnceValues(func() (string, error) {
		file := filepath.Join(ground.dir, "busybox.tar")
		return file, rootfs.Busybox(file)
	}),
	"debian": sync.OnceValues(func() (string, error) {
		return rootfs.Cached("debian.tar", func(file string) error { return rootfs.Distribution(file) })
	}),
}
