package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func TestRemoveFollowsDocker(t *testing.T) {
	stopped, running := layout.User{ID: "0123456789abcdef"}, layout.User{ID: "fedcba9876543210", Running: true}
	tests := map[string]struct {
		names   []string
		pulled  []string
		ref     string // "ID" stands for the id, "DIGEST" for the manifest's
		force   bool
		user    *layout.User
		want    string // "-" before names that are taken
		left    []string
		wantErr string
	}{
		"one of two names":           {names: []string{"a", "b"}, ref: "a", want: "-a:latest", left: []string{"b:latest"}},
		"the only name":              {names: []string{"a"}, ref: "a", want: "-a:latest ID LAYER"},
		"by id":                      {names: []string{"a"}, ref: "ID", want: "-a:latest ID LAYER"},
		"by id, nameless":            {ref: "ID", want: "ID LAYER"},
		"by id, two names":           {names: []string{"a", "b"}, ref: "ID", wantErr: "conflict: unable to delete ID"},
		"by id, two tags":            {names: []string{"a:1", "a:2"}, ref: "ID", wantErr: "(must be forced) - image is referenced in multiple repositories"},
		"by id, two names, forced":   {names: []string{"a", "b"}, ref: "ID", force: true, want: "-a:latest -b:latest ID LAYER"},
		"by name, two names, forced": {names: []string{"a", "b"}, ref: "b", force: true, want: "-b:latest", left: []string{"a:latest"}},
		"tag and digest, by tag":     {names: []string{"a", "a@DIGEST"}, ref: "a", want: "-a:latest -a@DIGEST ID LAYER"},
		"tag and digest, by digest":  {names: []string{"a", "a@DIGEST"}, ref: "a@DIGEST", want: "-a@DIGEST", left: []string{"a:latest"}},
		"tag and digest, by id":      {names: []string{"a", "a@DIGEST"}, ref: "ID", want: "-a:latest -a@DIGEST ID LAYER"},
		"digest of what was built":   {names: []string{"a"}, ref: "a@DIGEST", want: "-a:latest ID LAYER"},
		"unknown":                    {names: []string{"a"}, ref: "nginx", wantErr: "no such image: nginx"},

		"pulled":                        {pulled: []string{"a"}, ref: "a", want: "-a:latest -a@DIGEST ID LAYER"},
		"pulled, by id":                 {pulled: []string{"a"}, ref: "ID", want: "-a:latest -a@DIGEST ID LAYER"},
		"pulled, by digest":             {pulled: []string{"a"}, ref: "a@DIGEST", want: "-a@DIGEST", left: []string{"a:latest"}},
		"pulled, with another tag":      {pulled: []string{"a:1", "a:2"}, ref: "a:1", want: "-a:1", left: []string{"a:2"}},
		"pulled, tagged elsewhere":      {pulled: []string{"a"}, names: []string{"b"}, ref: "a", want: "-a:latest -a@DIGEST", left: []string{"b:latest"}},
		"pulled, by id, two of a place": {pulled: []string{"a:1", "a:2"}, ref: "ID", wantErr: "image is referenced in multiple repositories"},

		"stopped container": {
			names: []string{"a"}, ref: "a", user: &stopped,
			wantErr: `conflict: unable to remove repository reference "a" (must force) - container 0123456789ab is using its referenced image ID`,
		},
		"stopped container, by id": {
			names: []string{"a"}, ref: "ID", user: &stopped,
			wantErr: "conflict: unable to delete ID (must be forced) - image is being used by stopped container 0123456789ab",
		},
		"stopped container, forced":        {names: []string{"a"}, ref: "a", force: true, user: &stopped, want: "-a:latest ID LAYER"},
		"stopped container, by id, forced": {names: []string{"a"}, ref: "ID", force: true, user: &stopped, want: "-a:latest ID LAYER"},
		"running container": {
			names: []string{"a"}, ref: "a", user: &running,
			wantErr: "container fedcba987654 is using its referenced image ID",
		},
		"running container, by id, forced": {
			names: []string{"a"}, ref: "ID", force: true, user: &running,
			wantErr: "conflict: unable to delete ID (cannot be forced) - image is being used by running container fedcba987654",
		},
		"running container, forced":         {pulled: []string{"a"}, ref: "a", force: true, user: &running, want: "-a:latest -a@DIGEST", left: []string{""}},
		"running container, one of several": {names: []string{"a", "b"}, ref: "a", user: &running, want: "-a:latest", left: []string{"b:latest"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			l := newLayout(t)
			manifest, id := putImage(t, l, "one")
			img := layout.Image{ID: id}
			config, err := l.Config(img)
			must(t, err)
			fill := strings.NewReplacer("ID", id.Encoded()[:12], "DIGEST", manifest.Digest.String(), "LAYER", config.RootFS.DiffIDs[0].Encoded()[:12])
			for _, n := range tt.pulled {
				must(t, l.CommitPulled(ctx, n, manifest, nil))
			}
			for _, n := range tt.names {
				must(t, l.Commit(ctx, []string{fill.Replace(n)}, manifest, nil))
			}
			if len(tt.names)+len(tt.pulled) == 0 {
				must(t, l.Commit(ctx, nil, manifest, nil))
			}
			done, err := l.Remove(ctx, fill.Replace(tt.ref), layout.RemoveOptions{Force: tt.force, Users: func(of digest.Digest) []layout.User {
				if tt.user == nil || of != id {
					return nil
				}
				return []layout.User{*tt.user}
			}})
			if tt.wantErr != "" {
				want := fill.Replace(tt.wantErr)
				if err == nil || !strings.Contains(err.Error(), want) || fault.Code(err) != 1 || fault.Remedy(err) == "" {
					t.Fatalf("Remove: %v (code %d, remedy %q), want %q", err, fault.Code(err), fault.Remedy(err), want)
				}
				return
			}
			must(t, err)
			var got []string
			for _, name := range done.Untagged {
				got = append(got, "-"+name)
			}
			if done.ID != "" {
				got = append(got, done.ID.Encoded()[:12])
			}
			for _, layer := range done.Layers {
				got = append(got, layer.ChainID.Encoded()[:12])
			}
			if want := fill.Replace(tt.want); strings.Join(got, " ") != want {
				t.Errorf("removed %q, want %q", got, want)
			}
			images, err := l.List()
			must(t, err)
			var left []string
			for _, i := range images {
				left = append(left, layout.Familiar(i.Name))
			}
			if !slices.Equal(left, tt.left) {
				t.Errorf("left: %q, want %q", left, tt.left)
			}
		})
	}
}

func TestADigestStaysWithTheTagsOfItsRepository(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	manifest, id := putImage(t, l, "one")
	digested := "a@" + manifest.Digest.String()
	must(t, l.CommitPulled(ctx, "a:1", manifest, nil))
	must(t, l.Tag(ctx, "a:1", "a:2"))
	must(t, l.Tag(ctx, "a:1", "b"))
	_, err := l.Remove(ctx, "a:1", layout.RemoveOptions{})
	must(t, err)
	img, err := l.Find("b")
	must(t, err)
	if len(img.RepoDigests) > 0 {
		t.Errorf("another repository has its digest: %v", img.RepoDigests)
	}
	done, err := l.Remove(ctx, "a:2", layout.RemoveOptions{})
	must(t, err)
	if want := []string{"a:2", digested}; !slices.Equal(done.Untagged, want) {
		t.Errorf("untagged %q, want %q", done.Untagged, want)
	}
	must(t, l.NotePushed(ctx, "docker.io/library/b:latest", id, manifest.Digest))
	must(t, l.NotePushed(ctx, "docker.io/library/c:latest", id, manifest.Digest))
	if done, err = l.Remove(ctx, "b", layout.RemoveOptions{}); err != nil || len(done.Untagged) != 2 || done.ID != id {
		t.Errorf("removed %+v, %v", done, err)
	}
}

// The digests by which a repository knows an image come and go with its names there.
func TestANamelessImageHasNoDigestsAndGetsThoseOfItsNewName(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	manifest, id := putImage(t, l, "one")
	digested := "a@" + manifest.Digest.String()
	must(t, l.CommitPulled(ctx, "a:1", manifest, nil))
	must(t, l.Untag(ctx, "a:1"))
	must(t, l.CommitPulled(ctx, "a:1", manifest, nil))
	done, err := l.Remove(ctx, "a:1", layout.RemoveOptions{})
	must(t, err)
	if want := []string{"a:1", digested}; !slices.Equal(done.Untagged, want) {
		t.Errorf("pulled again: untagged %q, want %q", done.Untagged, want)
	}

	// Another tool takes the name; then the image gets one in another repository.
	must(t, l.CommitPulled(ctx, "a:1", manifest, nil))
	other, _ := putImage(t, l, "other")
	addDescriptor(t, l, descriptor(other.MediaType, other.Digest, other.Size, "a:1"))
	must(t, l.Tag(ctx, id.String(), "b"))
	if done, err = l.Remove(ctx, "b", layout.RemoveOptions{}); err != nil || !slices.Equal(done.Untagged, []string{"b:latest"}) {
		t.Errorf("taken over: untagged %q (%v)", done.Untagged, err)
	}
}

// addDescriptor adds one to index.json, as other tools do.
func addDescriptor(t *testing.T, l *layout.Layout, text string) {
	t.Helper()
	path := filepath.Join(l.Dir(), v1.ImageIndexFile)
	data, err := os.ReadFile(path)
	must(t, err)
	end := strings.LastIndex(string(data), "]")
	must(t, os.WriteFile(path, []byte(string(data[:end])+","+text+string(data[end:])), 0o600))
}

func TestLayersOfOthersStay(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	commit(t, l, []string{"base"}, "one", "two")
	commit(t, l, []string{"app"}, "one", "two", "three", "four")
	commit(t, l, []string{"turned"}, "two", "one")
	img, err := l.Find("app")
	must(t, err)
	config, err := l.Config(img)
	must(t, err)
	chain := identity.ChainIDs(slices.Clone(config.RootFS.DiffIDs))
	done, err := l.Remove(ctx, "app", layout.RemoveOptions{})
	must(t, err)
	if want := []digest.Digest{chain[3], chain[2]}; !slices.Equal(chainIDs(done.Layers), want) {
		t.Errorf("layers %v, want %v", done.Layers, want)
	}
	// The blobs stay, for another image has them in another order.
	done, err = l.Remove(ctx, "base", layout.RemoveOptions{})
	must(t, err)
	if want := []digest.Digest{chain[1], chain[0]}; !slices.Equal(chainIDs(done.Layers), want) || len(done.Blobs) != 2 {
		t.Errorf("layers %v, want %v; blobs %v", done.Layers, want, done.Blobs)
	}
}

func TestOnlyBlobsThatNothingUsesAreSetFree(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	commit(t, l, []string{"base"}, "shared")
	commit(t, l, []string{"app"}, "shared", "own")
	img, err := l.Find("app")
	must(t, err)
	own, _ := putLayer(t, l, "own")
	shared, _ := putLayer(t, l, "shared")

	done, err := l.Remove(ctx, "app", layout.RemoveOptions{})
	must(t, err)
	freed := done.Blobs
	want := []string{img.ID.String(), img.Manifest.Digest.String(), own.Digest.String()}
	slices.Sort(want)
	if got := fmt.Sprint(freed); got != fmt.Sprint(want) {
		t.Errorf("freed %s, want %s", got, want)
	}

	// Somebody names the image again before the blobs are gone.
	must(t, l.Commit(ctx, []string{"again"}, img.Manifest, nil))
	if size, err := l.DeleteBlobs(ctx, freed); err != nil || size != 0 {
		t.Errorf("DeleteBlobs of named ones: %d, %v", size, err)
	}
	done, err = l.Remove(ctx, "again", layout.RemoveOptions{})
	must(t, err)
	freed = done.Blobs
	if size, err := l.DeleteBlobs(ctx, append(freed, shared.Digest)); err != nil || size == 0 {
		t.Errorf("DeleteBlobs: %d, %v", size, err)
	}
	if l.HasBlob(own.Digest, -1) || !l.HasBlob(shared.Digest, shared.Size) {
		t.Error("wrong blobs deleted")
	}
	if err := l.Commit(ctx, []string{"again"}, img.Manifest, nil); !errors.Is(err, layout.ErrAbsent) {
		t.Errorf("Commit of a deleted image: %v", err)
	}
}

func TestAnotherProcessMayNameWhatWasFree(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	commit(t, l, []string{"app"}, "own")
	img, err := l.Find("app")
	must(t, err)
	other := layout.Open(l.Dir(), filepath.Join(filepath.Dir(l.Dir()), "index.lock"))
	done, err := l.Remove(ctx, "app", layout.RemoveOptions{})
	must(t, err)
	must(t, other.Commit(ctx, []string{"again"}, img.Manifest, nil))
	if size, err := l.DeleteBlobs(ctx, done.Blobs); err != nil || size != 0 {
		t.Errorf("%d bytes of an image with a name were deleted (%v)", size, err)
	}
	done, err = l.Remove(ctx, "again", layout.RemoveOptions{})
	must(t, err)
	if size, err := l.DeleteBlobs(ctx, done.Blobs); err != nil || size == 0 || l.HasBlob(img.ID, -1) {
		t.Errorf("%d bytes of a removed image were deleted (%v)", size, err)
	}
}

// alike gives two contents whose digests begin with the same digits, as many as
// index.json keeps of them.
func alike(t *testing.T) (a, b string) {
	t.Helper()
	seen := map[string]string{}
	for i := range 1 << 20 {
		content := fmt.Sprint("content ", i)
		short := digest.FromString(content).Encoded()[:8]
		if other, ok := seen[short]; ok {
			return other, content
		}
		seen[short] = content
	}
	t.Fatal("no two digests begin alike")
	return "", ""
}

// nameBlobs names an image whose layers have just these contents.
func nameBlobs(t *testing.T, l *layout.Layout, name string, contents ...string) {
	t.Helper()
	ctx := context.Background()
	cfg := &layout.ImageConfig{OS: "linux", Architecture: "amd64"}
	var layers []v1.Descriptor
	for _, c := range contents {
		d, err := l.PutBytes(ctx, []byte(c))
		must(t, err)
		d.MediaType = v1.MediaTypeImageLayer
		layers = append(layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, d.Digest)
	}
	m, _, err := layout.WriteImage(ctx, l, cfg, layers, layout.FormatOCI, nil)
	must(t, err)
	must(t, l.Commit(ctx, []string{name}, m, nil))
}

func TestBlobsWhoseDigestsBeginAlikeAreToldApart(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	x, y := alike(t)
	nameBlobs(t, l, "first", y)
	nameBlobs(t, l, "second", x, "own")
	nameBlobs(t, l, "both", x, y)
	done, err := l.Remove(ctx, "both", layout.RemoveOptions{})
	must(t, err)
	freed := done.Blobs
	all := append(freed, digest.FromString(x), digest.FromString(y))
	_, err = l.DeleteBlobs(ctx, all)
	must(t, err)
	for _, content := range []string{x, y, "own"} {
		if !l.HasBlob(digest.FromString(content), -1) {
			t.Errorf("the layer %q of an image with a name was deleted", content)
		}
	}
	done, err = l.Remove(ctx, "second", layout.RemoveOptions{})
	must(t, err)
	freed = done.Blobs
	_, err = l.DeleteBlobs(ctx, freed)
	must(t, err)
	if l.HasBlob(digest.FromString(x), -1) || !l.HasBlob(digest.FromString(y), -1) {
		t.Error("the wrong one of two was deleted")
	}
}

func TestAManifestThatCannotBeReadKeepsWhatItMayNeed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	ctx := context.Background()
	l := newLayout(t)
	shared, _ := putLayer(t, l, "shared")
	commit(t, l, []string{"a"}, "shared", "a")
	commit(t, l, []string{"b"}, "shared", "b")
	img, err := l.Find("b")
	must(t, err)
	path := l.BlobPath(img.Manifest.Digest)
	must(t, os.Chmod(path, 0))
	if _, err := l.Manifest(img); err == nil || errors.Is(err, layout.ErrAbsent) {
		t.Errorf("Manifest: %v", err)
	}
	done, err := l.Remove(ctx, "a", layout.RemoveOptions{})
	must(t, err)
	freed := done.Blobs
	_, err = l.DeleteBlobs(ctx, append(freed, shared.Digest))
	must(t, err)
	if !l.HasBlob(shared.Digest, -1) {
		t.Error("a layer of b was deleted with a")
	}
	must(t, os.Chmod(path, 0o644))
	if _, err := l.Manifest(img); err != nil {
		t.Errorf("Manifest: %v", err)
	}
}

func chainIDs(layers []layout.FreeLayer) (ids []digest.Digest) {
	for _, layer := range layers {
		ids = append(ids, layer.ChainID)
	}
	return ids
}

// An image can come again in another form, with the same id: packed anew. What only
// the form before led to is set free.
func TestWhatAnImageIsNotAnyMoreIsSetFree(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	l = l.WithFreed(filepath.Join(l.Dir(), "freed"))
	before, id := putImage(t, l, "content")
	must(t, l.Commit(ctx, []string{"app", "kept"}, before, nil))
	m, err := l.Manifest(layout.Image{ID: id, Manifest: before})
	must(t, err)
	config, err := l.Config(layout.Image{ID: id, Manifest: before})
	must(t, err)
	other, err := l.PutBlob(ctx, strings.NewReader("the same, as another packer has it"))
	must(t, err)
	other.MediaType = v1.MediaTypeImageLayerZstd
	now, _, err := layout.WriteImage(ctx, l, config, []v1.Descriptor{other}, layout.FormatOCI, nil)
	must(t, err)

	must(t, l.Commit(ctx, []string{"app"}, now, nil))
	if free, err := l.ReadFree(); err != nil || len(free.Blobs) > 0 {
		t.Errorf("free while a name has it: %v (%v)", free, err)
	}
	must(t, l.Commit(ctx, []string{"kept"}, now, nil))
	free, err := l.ReadFree()
	must(t, err)
	want := []digest.Digest{before.Digest, m.Layers[0].Digest}
	slices.Sort(want)
	if !slices.Equal(free.Blobs, want) {
		t.Errorf("free: %v, want %v", free.Blobs, want)
	}
}
