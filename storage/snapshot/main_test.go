package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containers/storage/pkg/reexec"
	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layer"
)

// insideEnv is set in the test binary that runs inside a user namespace.
const insideEnv = "SNAPSHOT_TEST_INSIDE"

// sharedEnv passes on the directory in which the drivers remember what the
// kernel permits.
const sharedEnv = "SNAPSHOT_TEST_FEATURES"

// TestMain runs the tests again inside a user namespace with a range of ids, as
// builder runs itself.
func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	if os.Getenv(insideEnv) != "" || os.Getuid() == 0 {
		os.Exit(m.Run())
	}
	os.Exit(runInside())
}

func runInside() int {
	features, err := os.MkdirTemp("", "snapshot-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	args := append([]string{"--user", "--map-auto", "--map-root-user", "--mount", "--", os.Args[0]}, os.Args[1:]...)
	inner := exec.Command("unshare", args...)
	inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
	inner.Env = append(os.Environ(), insideEnv+"=1", sharedEnv+"="+features, "_CONTAINERS_USERNS_CONFIGURED=done",
		fmt.Sprintf("_CONTAINERS_ROOTLESS_UID=%d", os.Getuid()), fmt.Sprintf("_CONTAINERS_ROOTLESS_GID=%d", os.Getgid()))
	err = inner.Run()
	_ = os.RemoveAll(features)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "user namespace for the tests:", err)
		return 1
	}
	return 0
}

// needNamespace skips a test where it runs as the real root.
func needNamespace(t testing.TB) {
	t.Helper()
	if os.Getenv(insideEnv) == "" {
		t.Skip("mounts in a user namespace: run as an unprivileged user with subordinate ids, " +
			"go test -c -o /tmp/t ./storage/snapshot && sudo -u USER /tmp/t")
	}
}

// bench is a store on disk for one test.
type bench struct {
	*Store
	place   Place
	journal *memoryJournal
}

// memoryJournal keeps what the journal on disk would.
type memoryJournal struct{ pending []string }

func (j *memoryJournal) Making(_, id string) error           { j.pending = append(j.pending, id); return nil }
func (j *memoryJournal) Committing(_, _ string, _ Key) error { return nil }
func (j *memoryJournal) Settled(_, id string) {
	j.pending = slices.DeleteFunc(j.pending, func(p string) bool { return p == id })
}

func newBench(t testing.TB, driver Driver) *bench {
	t.Helper()
	needNamespace(t)
	dir := t.TempDir()
	for _, d := range []string{"snapshots/records", "locks/steps"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{journal: &memoryJournal{}}
	b.place = Place{
		Dir:       filepath.Join(dir, "snapshots"),
		Features:  os.Getenv(sharedEnv),
		StepLocks: filepath.Join(dir, "locks/steps"),
		Records:   OpenRecords(filepath.Join(dir, "snapshots/records"), filepath.Join(dir, "locks/records")),
		Journal:   b.journal,
	}
	b.Store = b.open(t, driver)
	return b
}

func (b *bench) open(t testing.TB, driver Driver) *Store {
	t.Helper()
	s, err := Open(context.Background(), b.place, Options{
		Driver: driver, MountProgram: "/usr/bin/fuse-overlayfs", MappingKey: "test",
		ExactOwners: os.Geteuid() == 0, Unprivileged: os.Geteuid() != 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// forEachDriver runs a test with each.
func forEachDriver(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, d := range []Driver{Fuse, Overlay, VFS} {
		t.Run(string(d), func(t *testing.T) { test(t, newBench(t, d)) })
	}
}

func keyOf(s string) Key { return digest.FromString(s) }

// epoch is a time that no file gets by itself.
var epoch = time.Unix(1_000_000_000, 0)

func file(path, content string) *layer.Entry {
	return &layer.Entry{
		Path: path, Type: layer.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: epoch,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

func dir(path string, mode int64) *layer.Entry {
	return &layer.Entry{Path: path, Type: layer.TypeDir, Mode: mode, ModTime: epoch}
}

func symlink(path, target string) *layer.Entry {
	return &layer.Entry{Path: path, Type: layer.TypeSymlink, Mode: 0o777, Linkname: target, ModTime: epoch}
}

func (b *bench) prepare(t testing.TB, parent Key) *Active {
	t.Helper()
	a, err := b.Prepare(context.Background(), parent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Discard(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// commit makes a tree with entries above parent.
func (b *bench) commit(t testing.TB, parent Key, name string, entries ...*layer.Entry) Key {
	t.Helper()
	a := b.prepare(t, parent)
	w := a.Writer()
	for _, e := range entries {
		must(t, w.Write(e))
	}
	must(t, w.Close())
	must(t, a.Commit(keyOf(name)))
	return keyOf(name)
}

// run mounts a, lets do work in it, and unmounts it.
func (b *bench) run(t *testing.T, a *Active, do func(root string)) {
	t.Helper()
	root, err := a.Mount(context.Background())
	must(t, err)
	do(root)
	must(t, a.Unmount(context.Background()))
}

// layerOf lists what stands in the layer: a path, with a minus before it for a
// whiteout.
func layerOf(t testing.TB, src layer.Source, err error) []string {
	t.Helper()
	must(t, err)
	var names []string
	must(t, src.Walk(context.Background(), func(e *layer.Entry) error {
		name := e.Path
		if e.Whiteout {
			name = "-" + name
		}
		if !e.Implied {
			names = append(names, name)
		}
		return nil
	}))
	return names
}

func (b *bench) read(t *testing.T, key Key, path string) string {
	t.Helper()
	tree, err := b.Tree(key)
	must(t, err)
	data, err := tree.ReadFile(path, 1<<20)
	must(t, err)
	return string(data)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// packed packs entries as a blob, and gives it with its diffID.
func packed(t *testing.T, name string, entries ...*layer.Entry) UnpackLayer {
	t.Helper()
	var blob bytes.Buffer
	p, err := layer.Pack(context.Background(), layer.Entries(entries), &blob, layer.PackOptions{Compression: "gzip", Level: 1})
	must(t, err)
	return UnpackLayer{
		Key: keyOf(name), DiffID: p.DiffID, Size: int64(blob.Len()),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob.Bytes())), nil },
	}
}
