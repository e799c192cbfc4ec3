package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// podmanIn is podman with a store in dir, over fuse-overlayfs as builder's.
func (r *rig) podmanIn(dir string) *store {
	s := &store{rig: r, column: podman, dir: dir, global: peerStore(dir, true)}
	s.bePodman()
	return s
}

// importForPodman makes busybox of the tarball.
func (s *store) importForPodman() error {
	s.bePodman()
	s.base = "localhost/busybox"
	return s.run("import", "--quiet", s.rig.busybox, s.base)
}

// bePodman has the store's commands be podman's. Everything that it keeps is in the
// store's directory.
func (s *store) bePodman() {
	s.tool = "podman"
	s.global = append(s.global, "--tmpdir", s.dir+"/tmp")
	if hybridCgroups() {
		s.global = append(s.global, "--runtime", "runc", "--cgroup-manager", "cgroupfs")
	}
}

// stopPause ends the process by which podman holds its namespaces between commands.
func (s *store) stopPause() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "tmp/pause.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s: no process: %q", "pause.pid", text)
	}
	return unix.Kill(pid, unix.SIGKILL)
}
