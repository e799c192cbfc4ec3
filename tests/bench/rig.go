package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/tests/rootfs"
)

// rig is the ground of all measurements: a private directory on a fresh file
// system, in it stores, contexts and the peers' state.
type rig struct {
	ctx      context.Context
	binary   string
	dir      string
	runs     int
	peerRuns int
	busybox  string // root file system's tarball
	memory   figure // the highest peak of builder's processes, over all builds

	running    []*store // in which containers may run
	many       *store   // ten thousand images
	moved      source
	registries []*registry
}

// room is how much the cases need: contexts, images and outputs.
const room = 8 << 30

func newRig(ctx context.Context, binary, parent string, runs, peerRuns int) (*rig, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(parent, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", parent, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < room {
		return nil, fmt.Errorf("%s has %d MiB free, and %d are needed: name another directory with -dir", parent, free>>20, room>>20)
	}
	// A short name: podman takes no more than 50 characters for its directory.
	dir, err := os.MkdirTemp(parent, "bench")
	if err != nil {
		return nil, err
	}
	r := &rig{
		ctx: ctx, binary: binary, dir: dir, runs: runs, peerRuns: peerRuns,
		busybox: filepath.Join(dir, "busybox.tar"),
		memory: figure{
			name: "peak memory of builder's processes, the highest of all of these builds",
			unit: "MiB", limit: "120 MiB", cells: map[string]samples{},
		},
	}
	if err := rootfs.Busybox(r.busybox); err != nil {
		return nil, errors.Join(err, r.removeAll(dir))
	}
	return r, nil
}

func (r *rig) close() {
	for _, s := range r.running {
		if err := s.end(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	for _, reg := range r.registries {
		if err := reg.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	if err := r.removeAll(r.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// removeAll removes a tree in which files of subordinate ids may be.
func (r *rig) removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	return exec.Command("unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", dir).Run()
}

// column names a tool and a driver.
const (
	builderFuse   = "builder fuse"
	builderNative = "builder native"
	buildahFuse   = "buildah fuse"
	buildahNative = "buildah native"
	floor         = "tar | pigz -1"

	builderAlone = "builder"
	skopeo       = "skopeo copy"
	skopeoUmoci  = "skopeo copy, umoci unpack"
	podman       = "podman pull"

	podmanFuse   = "podman fuse"
	podmanNative = "podman native"
)

// Columns of the tables.
var (
	buildColumns = []string{builderFuse, builderNative, buildahFuse, buildahNative, floor}
	imageColumns = []string{builderAlone, skopeo, skopeoUmoci, podman}

	containerColumns = []string{builderFuse, builderNative, podmanFuse, podmanNative}
)

// store is one tool's state with one driver, and busybox in it.
type store struct {
	rig      *rig
	column   string
	dir      string
	base     string // what FROM says
	tool     string
	global   []string
	observed bool
	prepared bool // for its containers
}

// drivers are the names of builder's storage drivers by column.
var drivers = map[string]string{
	builderFuse: "fuse-overlayfs", builderNative: "overlay", builderAlone: "fuse-overlayfs",
}

// newStore makes an empty store that knows busybox.
func (r *rig) newStore(column string) (*store, error) {
	dir, err := os.MkdirTemp(r.dir, "store")
	if err != nil {
		return nil, err
	}
	s := &store{rig: r, column: column, dir: dir, base: "busybox", tool: r.binary}
	if driver, ours := drivers[column]; ours {
		s.global = []string{"--root", dir + "/root", "--storage-driver", driver}
		return s, s.run("import", r.busybox, "busybox")
	}
	s.global = peerStore(dir, column == buildahFuse || column == podmanFuse)
	if column == podmanFuse || column == podmanNative {
		s.willRun()
		return s, s.importForPodman()
	}
	s.tool = "buildah"
	return s, s.importForBuildah()
}

// peerStore says to buildah and podman that their store is in dir.
func peerStore(dir string, fuse bool) []string {
	args := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay"}
	if fuse {
		args = append(args, "--storage-opt", "overlay.mount_program=/usr/bin/fuse-overlayfs")
	}
	return args
}

// importForBuildah makes busybox of the tarball as buildah can: ADD to scratch.
func (s *store) importForBuildah() error {
	context, err := s.rig.context("FROM scratch\nADD busybox.tar /\n")
	if err != nil {
		return err
	}
	if err := os.Link(s.rig.busybox, filepath.Join(context, "busybox.tar")); err != nil {
		return err
	}
	s.base = "localhost/busybox"
	return s.run("bud", "--layers", "-q", "-t", s.base, context)
}

func (s *store) close() error {
	if slices.Contains(s.rig.running, s) {
		if err := s.end(); err != nil {
			return err
		}
	}
	return s.rig.removeAll(s.dir)
}

// command prepares to run the store's tool.
func (s *store) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.rig.ctx, s.tool, append(s.global[:len(s.global):len(s.global)], args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.rig.dir)
	return cmd
}

func (s *store) run(args ...string) error {
	cmd := s.command(args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// build is run for `bud`, with the Dockerfile's FROM filled in.
func (s *store) build(context string, args ...string) error {
	return s.run(s.buildArgs(context, args...)...)
}

func (s *store) buildArgs(context string, args ...string) []string {
	all := []string{"bud", "--layers", "--build-arg", "BASE=" + s.base, "-t", "bench"}
	if hybridCgroups() && drivers[s.column] == "" {
		all = append(all, "--runtime", "runc")
	}
	return append(append(all, args...), context)
}

// hybridCgroups says whether both kinds of cgroups are mounted side by side. crun,
// as the peers run it, refuses to work there, and they are measured with runc.
func hybridCgroups() bool {
	_, err := os.Stat("/sys/fs/cgroup/unified")
	return err == nil
}

// context makes a build context that holds a Dockerfile.
func (r *rig) context(dockerfile ...string) (string, error) {
	dir, err := os.MkdirTemp(r.dir, "context")
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(strings.Join(dockerfile, "")), 0o644)
}
