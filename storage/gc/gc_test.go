package gc

import (
	"context"
	"encoding/json"
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

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/lock"
	"github.com/builder-oci/builder/storage/snapshot"
)

// insideEnv is set in the test binary that runs inside a user namespace, where
// trees can be made: an ordinary user's tests run there.
const insideEnv = "GC_TEST_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" || os.Getuid() == 0 {
		os.Exit(m.Run())
	}
	inner := exec.Command("unshare", append([]string{"--user", "--map-auto", "--map-root-user", "--mount", "--", os.Args[0]}, os.Args[1:]...)...)
	inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
	inner.Env = append(os.Environ(), insideEnv+"=1")
	if err := inner.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a user namespace:", err)
		os.Exit(1)
	}
}

// bench is a store, put together from its rooms.
type bench struct {
	*Collector
	dir   string
	trees *snapshot.Store
}

// silentJournal is of a session whose trees nobody sweeps.
type silentJournal struct{}

func (silentJournal) Making(_, _ string) error                     { return nil }
func (silentJournal) Committing(_, _ string, _ snapshot.Key) error { return nil }
func (silentJournal) Settled(_, _ string)                          {}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	steps := cache.Open(at("cache"), at("locks/steps"))
	for _, d := range append(steps.Dirs(), at("snapshots/records"), at("sessions"), at("locks/steps")) {
		must(t, os.MkdirAll(d, 0o700))
	}
	b := &bench{dir: dir, Collector: New(Parts{
		Layout:    layout.Open(at("images"), at("locks/index")).WithFreed(at("locks/freed")),
		Records:   snapshot.OpenRecords(at("snapshots/records"), at("locks/records")),
		Cache:     steps,
		Snapshots: at("snapshots"), Sessions: at("sessions"), Locks: at("locks"), Session: "mine", Inside: true,
		Journal: func(string) ([][2]string, error) { return nil, nil },
	})}
	must(t, b.Layout.Create())
	b.Use = b.use(t)
	var err error
	b.trees, err = snapshot.Open(context.Background(), snapshot.Place{
		Dir: b.Snapshots, Features: t.TempDir(), StepLocks: at("locks/steps"), Records: b.Records, Journal: silentJournal{},
	}, snapshot.Options{Driver: snapshot.VFS, MappingKey: "test", ExactOwners: true})
	must(t, err)
	return b
}

func (b *bench) use(t *testing.T) *lock.Lock {
	t.Helper()
	l, err := lock.Shared(context.Background(), filepath.Join(b.Locks, "store"))
	must(t, err)
	t.Cleanup(l.Unlock)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(s string) digest.Digest { return digest.FromString(s) }

// built is an image of one layer, as a build leaves it.
type built struct {
	step, chain digest.Digest
	layer       v1.Descriptor
	manifest    v1.Descriptor
	id          digest.Digest
}

// build makes an image of one step.
func (b *bench) build(t *testing.T, name string) built {
	t.Helper()
	ctx := context.Background()
	a, err := b.trees.Prepare(ctx, "")
	must(t, err)
	w := a.Writer()
	must(t, w.Write(&layer.Entry{
		Path: "f", Type: layer.TypeReg, Mode: 0o644, Size: int64(len(name)), ModTime: time.Unix(1e9, 0),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(name)), nil },
	}))
	must(t, w.Close())
	made := built{step: keyOf("step " + name)}
	must(t, a.Commit(made.step))
	packing := b.pack(t, made.step)
	made.layer, made.chain = packing.Blob, packing.DiffID
	must(t, b.Records.LinkChain(made.chain, made.step))
	must(t, b.Cache.PutStep(&cache.Step{Key: keyOf("key " + name), Result: made.step}, nil))

	config := &layout.ImageConfig{OS: "linux", Architecture: "amd64"}
	config.RootFS.DiffIDs = []digest.Digest{packing.DiffID}
	made.manifest, made.id, err = layout.WriteImage(ctx, b.Layout, config, []v1.Descriptor{made.layer}, layout.FormatOCI, nil)
	must(t, err)
	must(t, b.Layout.Commit(ctx, []string{name}, made.manifest, nil))
	return made
}

// pack packs the layer of key as a blob.
func (b *bench) pack(t *testing.T, key digest.Digest) snapshot.Packing {
	t.Helper()
	src, err := b.trees.Changes(key)
	must(t, err)
	w, err := b.Layout.NewBlobWriter("mine")
	must(t, err)
	p, err := layer.Pack(context.Background(), src, w, layer.PackOptions{Compression: "gzip", Level: 1})
	must(t, err)
	must(t, w.Commit(p.Blob.Digest))
	packing := snapshot.Packing{
		Compression: "gzip", Level: 1, Packer: layer.PackerVersion, Exact: true, DiffID: p.DiffID, Blob: p.Blob,
	}
	must(t, b.Records.AddPacking(key, packing))
	return packing
}

// check gives the kinds of what Check finds, harmless ones in brackets.
func (b *bench) check(t *testing.T) []string {
	t.Helper()
	problems, complete, err := b.Check(context.Background())
	must(t, err)
	if !complete {
		t.Error("nobody else uses the store, but the check isn't complete")
	}
	var kinds []string
	for _, p := range problems {
		kind := string(p.Kind)
		if p.Harmless {
			kind = "(" + kind + ")"
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (b *bench) treePath(t *testing.T, key digest.Digest) string {
	t.Helper()
	rec, err := b.Records.Get(key)
	must(t, err)
	return snapshot.TreePath(b.Snapshots, b.trees.Root(), rec.Trees[b.trees.Root()].ID)
}

// sidePath is a file that lies beside a tree.
func (b *bench) sidePath(t *testing.T, key digest.Digest, ending string) string {
	t.Helper()
	rec, err := b.Records.Get(key)
	must(t, err)
	return filepath.Join(b.Snapshots, b.trees.Root(), rec.Trees[b.trees.Root()].ID+ending)
}

func TestBlobThatNothingLeadsToIsLeftToItsWriter(t *testing.T) {
	b := newBench(t)
	d, err := b.Layout.PutBlob(context.Background(), strings.NewReader("another tool's"))
	must(t, err)
	want(t, "check", b.check(t), "(leftover)")
	_, err = b.Repair(context.Background(), nil)
	must(t, err)
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{All: true})
	must(t, err)
	if !b.Layout.HasBlob(d.Digest, -1) {
		t.Error("a young blob was removed")
	}
	yesterday := time.Now().Add(-unreferencedAge - time.Minute)
	must(t, os.Chtimes(b.Layout.BlobPath(d.Digest), yesterday, yesterday))
	must(t, os.Chtimes(filepath.Join(b.Locks, cleanedFile), yesterday, yesterday))
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{All: true})
	must(t, err)
	if b.Layout.HasBlob(d.Digest, -1) {
		t.Error("a day later it is still there")
	}
}

func TestPackedLayerOfAKnownStepStaysWithoutAnImage(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	_, err := b.Layout.Remove(context.Background(), "one", layout.RemoveOptions{})
	must(t, err)
	old := time.Now().Add(-2 * unreferencedAge)
	for _, d := range []digest.Digest{made.layer.Digest, made.id} {
		must(t, os.Chtimes(b.Layout.BlobPath(d), old, old))
	}
	_, err = b.FreeUnreferenced(context.Background(), layout.Free{All: true})
	must(t, err)
	if !b.Layout.HasBlob(made.layer.Digest, -1) || b.Layout.HasBlob(made.id, -1) {
		t.Errorf("layer is there: %v; config is there: %v",
			b.Layout.HasBlob(made.layer.Digest, -1), b.Layout.HasBlob(made.id, -1))
	}
}

func TestRemovedImageTakesItsBlobsAndTreesUnlessOthersNeedThem(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	one, two := b.build(t, "one"), b.build(t, "two")
	treeOne, treeTwo := b.treePath(t, one.step), b.treePath(t, two.step)
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	removed, err := b.Layout.Remove(ctx, "one", layout.RemoveOptions{})
	must(t, err)
	got, err := b.FreeUnreferenced(ctx, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	if err != nil || !got.Done || got.Bytes == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, d := range []digest.Digest{one.layer.Digest, one.manifest.Digest, one.id} {
		if b.Layout.HasBlob(d, -1) {
			t.Errorf("blob %s is still there", d)
		}
	}
	if _, err := os.Lstat(treeOne); !errors.Is(err, os.ErrNotExist) {
		t.Error("the tree is still there")
	}
	for _, key := range []digest.Digest{one.step, one.chain} {
		if _, err := b.Records.Get(key); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("record %s: %v", key, err)
		}
	}
	if _, err := os.Lstat(treeTwo); err != nil || !b.Layout.HasBlob(two.layer.Digest, -1) {
		t.Errorf("the other image suffered: %v", err)
	}

	// The cached step keeps the tree of an image that is gone.
	removed, err = b.Layout.Remove(ctx, "two", layout.RemoveOptions{})
	must(t, err)
	_, err = b.FreeUnreferenced(ctx, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	must(t, err)
	if _, err := os.Lstat(treeTwo); err != nil || b.Layout.HasBlob(two.layer.Digest, -1) {
		t.Errorf("tree of the cached step: %v", err)
	}
	want(t, "check", b.check(t))
}

func TestNothingIsRemovedWhileOthersCountOnBlobs(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	made := b.build(t, "one")
	other := b.use(t)
	counting, err := lock.Shared(ctx, filepath.Join(b.Locks, blobsFile))
	must(t, err)
	removed, err := b.Layout.Remove(ctx, "one", layout.RemoveOptions{})
	must(t, err)
	if got, err := b.FreeUnreferenced(ctx, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers}); err != nil || got.Done {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, b.Tidy(ctx))
	if !b.Layout.HasBlob(made.layer.Digest, -1) {
		t.Error("removed under another's hands")
	}
	if _, complete, err := b.Check(ctx); err != nil || complete {
		t.Errorf("check: complete %v, %v", complete, err)
	}
	if _, err := b.Repair(ctx, nil); fault.Remedy(err) == "" {
		t.Errorf("repair: %v", err)
	}
	counting.Unlock()
	other.Unlock()
	must(t, b.Tidy(ctx))
	if b.Layout.HasBlob(made.layer.Digest, -1) {
		t.Error("the next command left it there")
	}
	if _, err := os.Lstat(filepath.Join(b.Locks, freedFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still noted: %v", err)
	}
}

func TestOnceADayWhatNobodyNeedsGoes(t *testing.T) {
	for what, inside := range map[string]bool{"inside the namespace": true, "outside": false} {
		t.Run(what, func(t *testing.T) {
			ctx := context.Background()
			b := newBench(t)
			made := b.build(t, "one")
			b.Inside = inside
			must(t, os.RemoveAll(filepath.Join(b.dir, "cache/seen")))
			old := time.Now().Add(-90 * unreferencedAge)
			blob, err := b.Layout.PutBlob(ctx, strings.NewReader("nobody's"))
			must(t, err)
			must(t, os.MkdirAll(filepath.Join(b.dir, "cache/registries"), 0o700))
			rubbish := []string{
				b.Layout.BlobPath(blob.Digest),
				filepath.Join(b.blobDir(), ".tmp-dead-1"), filepath.Join(b.Records.Dir(), ".tmp-x"),
				filepath.Join(b.dir, "cache/files/.tmp-x"), filepath.Join(b.dir, "cache/registries/.tmp-x"),
				filepath.Join(b.dir, "cache/.tmp-sizes-x"), filepath.Join(b.Locks, ".tmp-freed-x"),
				filepath.Join(b.dir, "cache/logs", keyOf("failed").Encoded()+".log"),
				filepath.Join(b.Locks, "steps", keyOf("x").Encoded()),
				filepath.Join(b.dir, "cache/builds", keyOf("not repeated").Encoded()), filepath.Join(b.dir, "cache/total"),
			}
			session, tree := filepath.Join(b.Sessions, "dead.d"), snapshot.TreePath(b.Snapshots, b.trees.Root(), "orphan")
			must(t, os.MkdirAll(session, 0o700))
			must(t, os.MkdirAll(tree, 0o700))
			for _, path := range rubbish {
				if !exists(path) {
					must(t, os.WriteFile(path, nil, 0o600))
				}
				must(t, os.Chtimes(path, old, old))
			}
			must(t, b.Tidy(ctx))
			for _, path := range rubbish {
				if exists(path) {
					t.Errorf("months old, and still there: %s", path)
				}
			}
			if exists(session) == inside || exists(tree) == inside {
				t.Errorf("session: %v, tree: %v", exists(session), exists(tree))
			}
			if !b.trees.HasTree(made.step) || !b.Layout.HasBlob(made.layer.Digest, -1) {
				t.Error("what is needed is gone")
			}

			// Not twice a day, but what only a command inside can do it does.
			must(t, os.WriteFile(rubbish[1], nil, 0o600))
			b.Inside = true
			must(t, b.Tidy(ctx))
			if !exists(rubbish[1]) || exists(tree) {
				t.Errorf("looked through again: %v; tree left: %v", !exists(rubbish[1]), exists(tree))
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestOutsideTheNamespaceTreesAreLeftForLater(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	made := b.build(t, "one")
	tree := b.treePath(t, made.step)
	must(t, os.Remove(b.Cache.StepPath(keyOf("key one"))))
	b.Inside = false
	removed, err := b.Layout.Remove(ctx, "one", layout.RemoveOptions{})
	must(t, err)
	got, err := b.FreeUnreferenced(ctx, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	must(t, err)
	if _, err := os.Lstat(tree); !got.Done || err != nil || b.Layout.HasBlob(made.layer.Digest, -1) {
		t.Errorf("%+v; tree: %v", got, err)
	}
	must(t, b.Tidy(ctx))
	b.Inside = true
	must(t, b.Tidy(ctx))
	if _, err := os.Lstat(tree); !errors.Is(err, os.ErrNotExist) {
		t.Error("the tree is still there")
	}
}

// nameByHand puts an image into index.json as another builder may have done.
func (b *bench) nameByHand(t *testing.T, name, config string, layers ...v1.Descriptor) {
	t.Helper()
	ctx := context.Background()
	put, err := b.Layout.PutBytes(ctx, []byte(config))
	must(t, err)
	put.MediaType = v1.MediaTypeImageConfig
	manifest, err := b.Layout.PutManifest(ctx, put, layers)
	must(t, err)
	manifest.Annotations = map[string]string{
		v1.AnnotationRefName:       name,
		"io.github.builder-oci.of": manifest.Digest.Encoded()[:12],
		"io.github.builder-oci.id": put.Digest.String(),
	}
	var index v1.Index
	data, err := os.ReadFile(b.indexPath())
	must(t, err)
	must(t, json.Unmarshal(data, &index))
	index.Manifests = append(index.Manifests, manifest)
	data, err = json.Marshal(index)
	must(t, err)
	must(t, os.WriteFile(b.indexPath(), data, 0o600))
}

func TestWhatIsNoDigestStopsNoCleanUp(t *testing.T) {
	b := newBench(t)
	made := b.build(t, "one")
	b.nameByHand(t, "evil", `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["foo"]}}`, made.layer)
	must(t, b.Cache.PutStep(&cache.Step{Key: keyOf("odd"), Result: "foo", Parent: "sha256:../x"}, nil))
	stray := filepath.Join(b.Records.Dir(), "notes.txt")
	must(t, os.WriteFile(stray, nil, 0o600))
	dead := keyOf("nobody's")
	must(t, b.Records.AddPacking(dead, snapshot.Packing{}))
	got, err := b.FreeUnreferenced(context.Background(), layout.Free{All: true})
	if err != nil || !got.Done {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.Records.Get(dead); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("a record that nothing needs: %v", err)
	}
	if !b.trees.HasTree(made.step) {
		t.Error("a tree that is needed is gone")
	}
}

// TestStepsThatNoBuildCanComeToGo executes the first of three steps again: what
// followed its former result is found by nobody any more.
func TestStepsThatNoBuildCanComeToGo(t *testing.T) {
	b := newBench(t)
	step := func(name, parent, result string, follows bool) *cache.Step {
		a, err := b.trees.Prepare(context.Background(), "")
		must(t, err)
		must(t, a.Commit(keyOf(result)))
		s := &cache.Step{Key: keyOf(name), Parent: keyOf(parent), Follows: follows, Result: keyOf(result)}
		must(t, b.Cache.PutStep(s, nil))
		return s
	}
	step("first", "an image's id", "result 1", false)
	second := step("second", "result 1", "result 2", true)
	third := step("third", "result 2", "result 3", true)
	if got, err := b.FreeUnreferenced(context.Background(), layout.Free{All: true}); err != nil || !got.Done {
		t.Fatal(got, err)
	}
	if _, err := b.Cache.Step(third.Key); err != nil || !b.trees.HasTree(third.Result) {
		t.Errorf("a step that can be come to is gone: %v", err)
	}

	again := step("first", "an image's id", "result 1 anew", false)
	if _, err := b.FreeUnreferenced(context.Background(), layout.Free{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*cache.Step{second, third} {
		if _, err := b.Cache.Step(s.Key); !errors.Is(err, cache.ErrNotFound) || b.trees.HasTree(s.Result) {
			t.Errorf("%s: record %v, its tree is there: %v", s.Key, err, b.trees.HasTree(s.Result))
		}
	}
	if b.trees.HasTree(keyOf("result 1")) {
		t.Error("the former result's tree is there still")
	}
	if _, err := b.Cache.Step(again.Key); err != nil || !b.trees.HasTree(again.Result) {
		t.Errorf("the new result is gone: %v", err)
	}
}
