package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func TestRemoveFollowsDocker(t *testing.T) {
	tests := map[string]struct {
		names   []string
		ref     string // "ID" stands for the id, "DIGEST" for the manifest's
		force   bool
		want    []string
		wantErr string
	}{
		"one of two names":            {names: []string{"a", "b"}, ref: "a", want: []string{"-a:latest"}},
		"the only name":               {names: []string{"a"}, ref: "a", want: []string{"-a:latest", "ID"}},
		"by id":                       {names: []string{"a"}, ref: "ID", want: []string{"-a:latest", "ID"}},
		"by id, nameless":             {ref: "ID", want: []string{"ID"}},
		"by id, two names":            {names: []string{"a", "b"}, ref: "ID", wantErr: "conflict: unable to delete"},
		"by id, two tags":             {names: []string{"a:1", "a:2"}, ref: "ID", wantErr: "(must be forced) - image is referenced in multiple repositories"},
		"by id, two names, forced":    {names: []string{"a", "b"}, ref: "ID", force: true, want: []string{"-a:latest", "-b:latest", "ID"}},
		"by name, two names, forced":  {names: []string{"a", "b"}, ref: "b", force: true, want: []string{"-b:latest"}},
		"tag and digest, by tag":      {names: []string{"a", "a@DIGEST"}, ref: "a", want: []string{"-a:latest", "-a@DIGEST", "ID"}},
		"tag and digest, by digest":   {names: []string{"a", "a@DIGEST"}, ref: "a@DIGEST", want: []string{"-a@DIGEST"}},
		"tag and digest, by id":       {names: []string{"a", "a@DIGEST"}, ref: "ID", want: []string{"-a:latest", "-a@DIGEST", "ID"}},
		"digest that is a name's own": {names: []string{"a"}, ref: "a@DIGEST", want: []string{"-a:latest", "ID"}},
		"unknown":                     {names: []string{"a"}, ref: "nginx", wantErr: "no such image: nginx"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			manifest, id := putImage(t, l, "one")
			fill := strings.NewReplacer("ID", id.Encoded()[:12], "DIGEST", manifest.Digest.String())
			var names []string
			for _, n := range tt.names {
				names = append(names, fill.Replace(n))
			}
			must(t, l.Commit(context.Background(), names, manifest, nil))
			done, _, err := l.Remove(context.Background(), fill.Replace(tt.ref), tt.force)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || fault.Code(err) != 1 || fault.Remedy(err) == "" {
					t.Fatalf("Remove: %v (code %d, remedy %q), want %q", err, fault.Code(err), fault.Remedy(err), tt.wantErr)
				}
				return
			}
			must(t, err)
			var got, want []string
			for _, r := range done {
				if r.Untagged != "" {
					got = append(got, "-"+r.Untagged)
				} else {
					got = append(got, r.Deleted.Encoded()[:12])
				}
			}
			for _, w := range tt.want {
				want = append(want, fill.Replace(w))
			}
			if !slices.Equal(got, want) {
				t.Errorf("removed %q, want %q", got, want)
			}
			if left := listing(t, l); len(left) != len(names)-strings.Count(strings.Join(got, " "), "-") {
				t.Errorf("left: %q", left)
			}
		})
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

	_, freed, err := l.Remove(ctx, "app", false)
	must(t, err)
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
	_, freed, err = l.Remove(ctx, "again", false)
	must(t, err)
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
	_, freed, err := l.Remove(ctx, "both", false)
	must(t, err)
	all := append(freed, digest.FromString(x), digest.FromString(y))
	_, err = l.DeleteBlobs(ctx, all)
	must(t, err)
	for _, content := range []string{x, y, "own"} {
		if !l.HasBlob(digest.FromString(content), -1) {
			t.Errorf("the layer %q of an image with a name was deleted", content)
		}
	}
	_, freed, err = l.Remove(ctx, "second", false)
	must(t, err)
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
	_, freed, err := l.Remove(ctx, "a", false)
	must(t, err)
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
