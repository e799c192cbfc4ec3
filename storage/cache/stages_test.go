package cache

import (
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWalkedStagesAreKept(t *testing.T) {
	c := newCache(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	first, second := digest.FromString("first"), digest.FromString("second")
	one := &Stage{
		Image: digest.FromString("image"), Base: digest.FromString("base"), Config: json.RawMessage(`{"os":"linux"}`),
		Layers:  []StageLayer{{Tree: "sha256:t", DiffID: "sha256:d", Blob: &v1.Descriptor{Digest: "sha256:b", Size: 3}}},
		History: []StageHistory{{History: v1.History{CreatedBy: "base"}, Layer: 0}},
		Steps: []StageStep{
			{ID: first, Created: at, Layer: &StageLayer{Tree: "sha256:u", Written: true}, History: &StageHistory{Layer: 1}},
			{ID: second, Created: at, Config: json.RawMessage(`{"os":"linux","a":"<"}`), History: &StageHistory{Layer: -1}},
		},
	}
	other := &Stage{Config: json.RawMessage(`{}`), Steps: []StageStep{{ID: first, Created: at}}}
	names := map[string]*Stage{"one": one, "other": other}
	for name, s := range names {
		if c.HasStage(digest.FromString(name)) {
			t.Errorf("%s is there before it was put", name)
		}
		if err := c.PutStage(digest.FromString(name), s); err != nil {
			t.Fatal(err)
		}
		if !c.HasStage(digest.FromString(name)) {
			t.Errorf("%s isn't there", name)
		}
	}
	torn := c.path(stagesDir, digest.FromString("torn"))
	for _, left := range []string{"", "{\"base\":", "\x00\x00\x00"} {
		if err := os.WriteFile(torn, []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.HasStage(digest.FromString("torn")) {
			t.Errorf("%q passes for whole", left)
		}
	}
	age(t, c, digest.FromString("other"), time.Hour/2)
	if got := stages(t, c.Stages()); !reflect.DeepEqual(got, []*Stage{one, other}) {
		t.Errorf("kept: %+v", got)
	}
	if got := stages(t, c.StagesWith(second.Encoded()[:6])); !reflect.DeepEqual(got, []*Stage{one}) {
		t.Errorf("with the second step: %+v", got)
	}
	if got := stages(t, c.StagesOf(one.Image)); !reflect.DeepEqual(got, []*Stage{one}) {
		t.Errorf("of the image: %+v", got)
	}
	if got := stages(t, c.StagesWith(digest.FromString("third").Encoded())); got != nil {
		t.Errorf("with a step that isn't there: %+v", got)
	}
}

func TestTornStagesArePassedOver(t *testing.T) {
	c := newCache(t)
	s := &Stage{Config: json.RawMessage(`{}`), Steps: []StageStep{{ID: digest.FromString("step")}}}
	name := digest.FromString("torn")
	if err := c.PutStage(name, s); err != nil {
		t.Fatal(err)
	}
	path := c.path(stagesDir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, len(text) - 10} {
		if err := os.WriteFile(path, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := stages(t, c.Stages()); got != nil {
			t.Errorf("cut after %d bytes: %+v", n, got)
		}
	}
}

func TestStagesThatNobodyUsesGo(t *testing.T) {
	c := newCache(t)
	for _, name := range []string{"old", "new"} {
		s := &Stage{Config: json.RawMessage(`{}`), Steps: []StageStep{{ID: digest.FromString(name)}}}
		if err := c.PutStage(digest.FromString(name), s); err != nil {
			t.Fatal(err)
		}
	}
	age(t, c, digest.FromString("old"), 48*time.Hour)
	paths, err := c.OldMemory(24 * time.Hour)
	if err != nil || len(paths) != 1 || filepath.Base(paths[0]) != digest.FromString("old").Encoded() {
		t.Errorf("old: %v, %v", paths, err)
	}
	// A use makes it young again.
	if !c.HasStage(digest.FromString("old")) {
		t.Error("the old one isn't there")
	}
	if paths, err := c.OldMemory(24 * time.Hour); err != nil || len(paths) > 0 {
		t.Errorf("old after a use: %v, %v", paths, err)
	}
}

func stages(t *testing.T, found iter.Seq2[*Stage, error]) []*Stage {
	t.Helper()
	var all []*Stage
	for s, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// age makes a kept stage's last use lie back.
func age(t *testing.T, c *Cache, name Key, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	if err := os.Chtimes(c.path(stagesDir, name), then, then); err != nil {
		t.Fatal(err)
	}
}
