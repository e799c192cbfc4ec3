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
	// The distribution's package, with its pages where nginx's own image has them:
	// the demo's.
	"nginx": sync.OnceValues(func() (string, error) {
		return rootfs.Cached("nginx.tar", func(file string) error {
			return rootfs.Distribution(file, "nginx-light",
				`sed -i "s,root /var/www/html;,root /usr/share/nginx/html;," "$1"/etc/nginx/sites-available/default`)
		})
	}),
}
