package layout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func TestOtherToolsFindImagesByName(t *testing.T) {
	l := newLayout(t)
	id := commit(t, l, []string{"nginx:v2", "localhost:5000/team/app", "quay.io/a/b:c"}, "one", "two")
	for _, name := range []string{"nginx:v2", "localhost:5000/team/app:latest", "quay.io/a/b:c"} {
		out, err := exec.Command("skopeo", "inspect", "--config", "--format", "{{.Architecture}}", "oci:"+l.Dir()+":"+name).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "amd64" {
			t.Errorf("skopeo inspect %s: %v\n%s", name, err, out)
		}
		bundle := filepath.Join(t.TempDir(), "bundle")
		if out, err := exec.Command("umoci", "unpack", "--rootless", "--image", l.Dir()+":"+name, bundle).CombinedOutput(); err != nil {
			t.Errorf("umoci unpack %s: %v\n%s", name, err, out)
		}
		content, err := os.ReadFile(filepath.Join(bundle, "rootfs/file"))
		if err != nil || string(content) != "two" {
			t.Errorf("%s unpacked by umoci: %q, %v", name, content, err)
		}
	}
	if img, err := l.Find("nginx:v2"); err != nil || img.ID != id || img.Size == 0 || img.Created.Year() != 2024 {
		t.Errorf("Find: %+v, %v", img, err)
	}
}

func TestImagesOfOtherToolsAreTakenUp(t *testing.T) {
	l := newLayout(t)
	id := commit(t, l, []string{"ours"}, "one")
	run(t, "skopeo", "copy", "-q", "oci:"+l.Dir()+":ours:latest", "oci:"+l.Dir()+":theirs:v1")
	run(t, "umoci", "tag", "--image", l.Dir()+":ours:latest", "bare")
	run(t, "umoci", "config", "--image", l.Dir()+":ours:latest", "--tag", "changed", "--config.user", "nobody")

	for _, name := range []string{"theirs:v1", "bare"} {
		if img, err := l.Find(name); err != nil || img.ID != id {
			t.Errorf("Find(%s) = %s, %v; want %s", name, img.ID, err, id)
		}
	}
	img, err := l.Find("changed")
	must(t, err)
	cfg, err := l.Config(img)
	if err != nil || cfg.Config.User != "nobody" || img.ID == id {
		t.Errorf("what umoci has changed: %+v, %v", cfg, err)
	}
	must(t, l.Tag(context.Background(), "changed", "again"))
	for _, name := range []string{"theirs:v1", "bare:latest", "changed:latest", "again:latest", "ours:latest"} {
		if !slices.ContainsFunc(listing(t, l), func(s string) bool { return strings.HasPrefix(s, name+" ") }) {
			t.Errorf("%s isn't listed: %q", name, listing(t, l))
		}
	}
}

func TestWhatBuilderDoesNotKnowIsKept(t *testing.T) {
	l := newLayout(t)
	id := commit(t, l, []string{"a"}, "one")
	path := filepath.Join(l.Dir(), "index.json")
	var index map[string]any
	readJSON(t, path, &index)
	manifests := index["manifests"].([]any)
	ours := manifests[0].(map[string]any)
	ours["annotations"].(map[string]any)["com.example.note"] = "mine"
	ours["urls"] = []any{"https://example.com"}
	strange := map[string]any{
		"mediaType": "application/vnd.example", "digest": "sha256:" + strings.Repeat("0", 64), "size": 3,
		"annotations": map[string]any{"org.opencontainers.image.ref.name": "thing"},
	}
	index["manifests"] = append(manifests, strange)
	index["annotations"] = map[string]any{"com.example.whole": "kept"}
	data, err := json.Marshal(index)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o644))

	must(t, l.Tag(context.Background(), "a", "b"))
	if _, err := l.Remove(context.Background(), "b", layout.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, l); len(got) != 1 || got[0] != "a:latest "+id.Encoded()[:12] {
		t.Errorf("listing: %q", got)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	for _, want := range []string{`"com.example.note":"mine"`, `https://example.com`, `application/vnd.example`, `"com.example.whole":"kept"`, `"thing"`} {
		if !strings.Contains(string(after), want) {
			t.Errorf("%s is gone:\n%s", want, after)
		}
	}
}

func TestFind(t *testing.T) {
	l := newLayout(t)
	one := commit(t, l, []string{"app:v1", "app:v2"}, "one")
	two := commit(t, l, []string{"quay.io/x/app"}, "two")
	img, err := l.Find("app:v1")
	must(t, err)
	manifest := img.Manifest.Digest.String()

	for ref, want := range map[string]string{
		"app:v1": one.String(), "docker.io/library/app:v2": one.String(), "quay.io/x/app": two.String(),
		one.String(): one.String(), one.Encoded(): one.String(), one.Encoded()[:12]: one.String(), "sha256:" + two.Encoded()[:8]: two.String(),
		"app@" + manifest: one.String(), "app:other@" + manifest: one.String(), manifest: one.String(),
	} {
		if img, err := l.Find(ref); err != nil || img.ID.String() != want {
			t.Errorf("Find(%s) = %s, %v; want %s", ref, img.ID, err, want)
		}
	}
	for _, ref := range []string{"nginx", "app", "quay.io/x/app@" + manifest, "ffffffffffff", "sha256:zz", "sha256:"} {
		_, err := l.Find(ref)
		var f *fault.Error
		if !errors.Is(err, layout.ErrUnknown) || !errors.As(err, &f) || f.Remedy == "" {
			t.Errorf("Find(%s): %v, want an unknown image with a remedy", ref, err)
		}
	}
}

func TestAnAmbiguousIDIsRefused(t *testing.T) {
	l := newLayout(t)
	seen := map[byte]bool{}
	for i := 0; ; i++ {
		id := commit(t, l, nil, fmt.Sprint(i))
		first := id.Encoded()[0]
		if seen[first] {
			_, err := l.Find(string(first))
			if err == nil || !strings.Contains(err.Error(), "ambiguous") {
				t.Errorf("Find(%c): %v", first, err)
			}
			return
		}
		seen[first] = true
	}
}

func TestANameMovesAndLeavesTheOldImageWithoutName(t *testing.T) {
	l := newLayout(t)
	one := commit(t, l, []string{"app"}, "one").Encoded()[:12]
	commit(t, l, []string{"app"}, "one") // the same again
	if got, want := listing(t, l), []string{"app:latest " + one}; !slices.Equal(got, want) {
		t.Errorf("the same image again: %q, want %q", got, want)
	}
	two := commit(t, l, []string{"app"}, "two").Encoded()[:12]
	if got, want := listing(t, l), []string{" " + one, "app:latest " + two}; !slices.Equal(got, want) {
		t.Errorf("moved: %q, want %q", got, want)
	}
	must(t, l.Tag(context.Background(), one, "old"))
	must(t, l.Tag(context.Background(), one, "older"))
	if got, want := listing(t, l), []string{"old:latest " + one, "app:latest " + two, "older:latest " + one}; !slices.Equal(got, want) {
		t.Errorf("named again: %q, want %q", got, want)
	}
	must(t, l.Tag(context.Background(), "app", "old"))
	if got, want := listing(t, l), []string{"app:latest " + two, "older:latest " + one, "old:latest " + two}; !slices.Equal(got, want) {
		t.Errorf("an image that keeps another name has no nameless descriptor: %q, want %q", got, want)
	}
}

func TestCommitsAtOnceAllStand(t *testing.T) {
	l := newLayout(t)
	const n = 20
	var group sync.WaitGroup
	for i := range n {
		manifest, _ := putImage(t, l, fmt.Sprint(i))
		group.Go(func() {
			if err := l.Commit(context.Background(), []string{fmt.Sprintf("app:%d", i)}, manifest, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := listing(t, l); len(got) != n {
		t.Errorf("%d of %d images: %q", len(got), n, got)
	}
	if left, _ := filepath.Glob(filepath.Join(l.Dir(), ".tmp-*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestAnImageWithoutAllItsBlobsIsNotNamed(t *testing.T) {
	l := newLayout(t)
	manifest, _ := putImage(t, l, "one")
	d, _ := putLayer(t, l, "one")
	must(t, os.Remove(l.BlobPath(d.Digest)))
	if err := l.Commit(context.Background(), []string{"app"}, manifest, nil); !errors.Is(err, layout.ErrAbsent) {
		t.Errorf("Commit: %v", err)
	}
	if got := listing(t, l); len(got) != 0 {
		t.Errorf("named all the same: %q", got)
	}
}

func TestADamagedManifestCountsAsAbsentAndIsReplaced(t *testing.T) {
	l := newLayout(t)
	commit(t, l, []string{"app"}, "one")
	img, err := l.Find("app")
	must(t, err)
	must(t, os.Truncate(l.BlobPath(img.Manifest.Digest), 100))
	if _, err := l.Manifest(img); !errors.Is(err, layout.ErrAbsent) || !strings.Contains(fault.Remedy(err), "builder pull app:latest") {
		t.Errorf("Manifest: %v, remedy %q", err, fault.Remedy(err))
	}
	must(t, os.WriteFile(l.BlobPath(img.ID), []byte("{}"), 0o644))
	if _, err := l.Config(img); !errors.Is(err, layout.ErrAbsent) {
		t.Errorf("Config: %v", err)
	}
	commit(t, l, []string{"app"}, "one")
	if _, err := l.Manifest(img); err != nil {
		t.Error(err)
	}
	if _, err := l.Config(img); err != nil {
		t.Error(err)
	}
}

func TestAWholeBlobIsNotReplaced(t *testing.T) {
	ctx := context.Background()
	l := newLayout(t)
	put := func() os.FileInfo {
		d, err := l.PutBlob(ctx, strings.NewReader("content"))
		must(t, err)
		st, err := os.Stat(l.BlobPath(d.Digest))
		must(t, err)
		return st
	}
	first := put()
	if again := put(); !os.SameFile(first, again) {
		t.Error("the synced bytes of an image may have been replaced by others that aren't")
	}
	for _, content := range []string{"CONTENT", "cont"} {
		path := l.BlobPath(digest.FromString("content"))
		must(t, os.WriteFile(path, []byte(content), 0o644))
		put()
		if got, err := os.ReadFile(path); err != nil || string(got) != "content" {
			t.Errorf("a damaged blob stays: %q, %v", got, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(l.Dir(), "blobs/sha256/.tmp-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestADamagedIndexIsAnErrorWithARemedy(t *testing.T) {
	l := newLayout(t)
	must(t, os.WriteFile(filepath.Join(l.Dir(), "index.json"), []byte(`{"manifests":[`), 0o644))
	if _, err := l.List(); err == nil || fault.Remedy(err) == "" {
		t.Errorf("List: %v", err)
	}
	if err := l.Tag(context.Background(), "a", "b"); err == nil {
		t.Error("a change overwrites a damaged index")
	}
}

func TestAnIndexIsKeptBesideItsPlatform(t *testing.T) {
	l := newLayout(t)
	manifest, id := putImage(t, l, "one")
	data, err := json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size, Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
		{MediaType: manifest.MediaType, Digest: someDigest, Size: 5, Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	}})
	must(t, err)
	multi, err := l.PutBytes(context.Background(), data)
	must(t, err)
	multi.MediaType = v1.MediaTypeImageIndex
	must(t, l.Commit(context.Background(), []string{"app"}, manifest, &multi))

	for _, ref := range []string{"app", "app@" + multi.Digest.String(), "app@" + manifest.Digest.String()} {
		img, err := l.Find(ref)
		if err != nil || img.ID != id || img.Target().Digest != multi.Digest || img.Manifest.Digest != manifest.Digest ||
			img.Manifest.Size != manifest.Size || img.Manifest.MediaType != v1.MediaTypeImageManifest {
			t.Errorf("Find(%s) = %+v, %v", ref, img, err)
		}
	}
	run(t, "skopeo", "inspect", "--config", "oci:"+l.Dir()+":app:latest")
	done, err := l.Remove(context.Background(), "app@"+multi.Digest.String(), layout.RemoveOptions{})
	freed := done.Blobs
	if err != nil || len(freed) != 4 || !slices.Contains(freed, multi.Digest) {
		t.Errorf("freed %q, %v", freed, err)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, json.Unmarshal(data, v))
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A layout that remembers what it has written takes up what others write after it.
func TestAnotherWriterIsSeenBetweenTwoChanges(t *testing.T) {
	l := newLayout(t)
	ctx := context.Background()
	commit(t, l, []string{"one"}, "1")
	other := layout.Open(l.Dir(), filepath.Join(filepath.Dir(l.Dir()), "index.lock"))
	must(t, other.Tag(ctx, "one", "two"))
	must(t, l.Tag(ctx, "one", "three"))
	must(t, l.Tag(ctx, "one", "four"))
	path := filepath.Join(l.Dir(), "index.json")
	data, err := os.ReadFile(path)
	must(t, err)
	changed := bytes.Replace(data, []byte("three:latest"), []byte("third:latest"), 1) // in place, and as long
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write(changed)
	must(t, err)
	must(t, f.Close())
	must(t, l.Tag(ctx, "one", "five"))
	var names []string
	for _, line := range listing(t, l) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	if want := []string{"one:latest", "two:latest", "third:latest", "four:latest", "five:latest"}; !slices.Equal(names, want) {
		t.Errorf("names are %q, not %q", names, want)
	}
}
