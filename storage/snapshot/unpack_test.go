package snapshot

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

func TestUnpackedLayersStackUp(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		whiteout := &layer.Entry{Path: "etc/b", Whiteout: true}
		layers := []UnpackLayer{
			packed(t, "one", dir("etc", 0o755), file("etc/a", "1"), file("etc/b", "1"), dir("root", 0o700), dir("tmp", 0o1777)),
			packed(t, "two", file("etc/a", "2"), whiteout, file("root/x", "")),
			packed(t, "three", file("tmp/y", "")),
		}
		must(t, b.Unpack(context.Background(), layers, nil))
		tree, err := b.Tree(keyOf("three"))
		must(t, err)
		for path, mode := range map[string]int64{"root": 0o700, "tmp": 0o1777, "": 0o755} {
			n, err := tree.Lstat(path)
			must(t, err)
			if n.Mode != mode {
				t.Errorf("/%s has mode %o, not %o", path, n.Mode, mode)
			}
		}
		if _, err := tree.Lstat("etc/b"); err == nil {
			t.Error("etc/b was deleted by the second layer")
		}
		if got := b.read(t, keyOf("three"), "etc/a"); got != "2" {
			t.Errorf("etc/a is %q", got)
		}
		if got := b.read(t, keyOf("one"), "etc/a"); got != "1" {
			t.Errorf("etc/a is %q in the base", got)
		}
		src, err := b.Changes(keyOf("two"))
		wantNames(t, "second layer", layerOf(t, src, err), "etc/a", "-etc/b", "root/x")
	})
}

func TestUnpackTakesWhatIsThere(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		layers := []UnpackLayer{packed(t, "one", file("a", "")), packed(t, "two", file("b", ""))}
		must(t, b.Unpack(context.Background(), layers[:1], nil))
		layers[0].Open = func() (io.ReadCloser, error) {
			t.Error("the first layer was opened again")
			return nil, os.ErrNotExist
		}
		must(t, b.Unpack(context.Background(), layers, nil))
		must(t, b.Unpack(context.Background(), layers, nil))
	})
}

func TestDamagedLayerLeavesNothing(t *testing.T) {
	forEachDriver(t, func(t *testing.T, b *bench) {
		before := b.files(t)
		layers := []UnpackLayer{packed(t, "one", file("a", "")), packed(t, "two", file("b", ""))}
		layers[1].DiffID = digest.FromString("another tar")
		err := b.Unpack(context.Background(), layers, nil)
		if fault.Remedy(err) == "" || !strings.Contains(err.Error(), "it isn't what the image's config says") {
			t.Errorf("got %v", err)
		}
		wantNames(t, "files", b.files(t), before...)
		if b.HasTree(keyOf("one")) || len(b.journal.pending) > 0 {
			t.Errorf("a tree is there, or unsettled: %v", b.journal.pending)
		}
	})
}

func TestUnpackRefusesWhatIsNoDigest(t *testing.T) {
	b := newBench(t, Overlay)
	outside := filepath.Join(filepath.Dir(filepath.Dir(b.place.StepLocks)), "outside")
	for _, bad := range []digest.Digest{"foo", "sha256:../../outside", "sha256:", "md5:" + digest.Digest(strings.Repeat("0", 32))} {
		keyed, named := packed(t, "one", file("a", "")), packed(t, "one", file("a", ""))
		keyed.Key, named.DiffID = bad, bad
		for _, l := range []UnpackLayer{keyed, named} {
			if err := b.Unpack(context.Background(), []UnpackLayer{l}, nil); err == nil || !strings.Contains(err.Error(), string(bad)) {
				t.Errorf("key %q, diffID %q: %v", l.Key, l.DiffID, err)
			}
		}
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a lock was made outside the directory of locks")
	}
	if b.HasTree(keyOf("one")) {
		t.Error("a tree was made")
	}
}

func TestUnpackReportsProgressUpToTheSize(t *testing.T) {
	b := newBench(t, Overlay)
	l := packed(t, "one", file("a", strings.Repeat("x", 1<<16)))
	var read atomic.Int64
	must(t, b.Unpack(context.Background(), []UnpackLayer{l}, func(p Progress) {
		if p.Layer != 0 || p.Total != l.Size {
			t.Errorf("%+v", p)
		}
		read.Store(p.Read)
	}))
	if read.Load() != l.Size {
		t.Errorf("read %d of %d bytes", read.Load(), l.Size)
	}
}

func TestLayersAreUnpackedOnceByManyAtATime(t *testing.T) {
	b := newBench(t, Overlay)
	var opened atomic.Int32
	layers := []UnpackLayer{packed(t, "one", file("a", "")), packed(t, "two", file("b", "")), packed(t, "three", file("c", ""))}
	for i, open := range []func() (io.ReadCloser, error){layers[0].Open, layers[1].Open, layers[2].Open} {
		layers[i].Open = func() (io.ReadCloser, error) {
			opened.Add(1)
			return open()
		}
	}
	var workers errgroup.Group
	for range 8 {
		place := b.place
		place.Journal = &memoryJournal{}
		other := &bench{place: place}
		s := other.open(t, Overlay)
		workers.Go(func() error { return s.Unpack(context.Background(), layers, nil) })
	}
	must(t, workers.Wait())
	if n := opened.Load(); n != 3 {
		t.Errorf("%d layers were opened, not 3", n)
	}
	ids, err := IDs(b.place.Dir, b.Root())
	must(t, err)
	if len(ids) != 3 {
		t.Errorf("%d trees, not 3", len(ids))
	}
	links, err := os.ReadDir(filepath.Join(b.home, linksDir))
	must(t, err)
	if len(links) != 3 {
		t.Errorf("%d links, not 3", len(links))
	}
}

// Somebody who unpacks only a part of the chain holds another lock.
func TestUnpackStartsAgainAboveWhatAnotherMade(t *testing.T) {
	b := newBench(t, Overlay)
	layers := []UnpackLayer{packed(t, "one", file("a", "")), packed(t, "two", file("b", "")), packed(t, "three", file("c", ""))}
	open := layers[2].Open
	layers[2].Open = func() (io.ReadCloser, error) {
		if !b.HasTree(keyOf("one")) {
			b.commit(t, "", "one", file("a", "another's"))
		}
		return open()
	}
	must(t, b.Unpack(context.Background(), layers, nil))
	if got := b.read(t, keyOf("three"), "a"); got != "another's" {
		t.Errorf("the chain stands on the tree that lost: %q", got)
	}
	ids, err := IDs(b.place.Dir, b.Root())
	must(t, err)
	if len(ids) != 3 {
		t.Errorf("%d trees, not 3", len(ids))
	}
}

// What makes more of a blob than gzip can was made to do harm: it ends early, be
// it by what the tar's headers promise or by what comes.
func TestABombIsntUnpacked(t *testing.T) {
	if got := mostUnpacked(1 << 62); got < 1<<62 {
		t.Errorf("of a huge blob only %d bytes may come", got)
	}
	if n, err := io.Copy(io.Discard, &bounded{strings.NewReader("12345"), 4}); !errors.Is(err, layer.ErrTooLarge) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := io.Copy(io.Discard, &bounded{strings.NewReader("1234"), 4}); n != 4 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	forEachDriver(t, func(t *testing.T, b *bench) {
		var bomb bytes.Buffer
		w := tar.NewWriter(&bomb)
		must(t, w.WriteHeader(&tar.Header{Name: "bomb", Size: 1 << 44}))
		l := UnpackLayer{
			Key: keyOf("bomb"), DiffID: digest.FromString("bomb"), Size: 100, Image: "evil:v1",
			Open: func() (io.ReadCloser, error) { return io.NopCloser(&bomb), nil },
		}
		err := b.Unpack(context.Background(), []UnpackLayer{l}, nil)
		if err == nil || !strings.Contains(err.Error(), "of evil:v1: its 100B unpack to more than") || fault.Remedy(err) == "" {
			t.Errorf("%v; remedy %q", err, fault.Remedy(err))
		}
		if b.HasTree(l.Key) {
			t.Error("the tree is there")
		}
	})
}
