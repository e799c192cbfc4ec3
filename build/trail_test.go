package build

import (
	"reflect"
	"slices"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
)

// newTrail makes a trail of FROM with one layer, ENV, RUN, and LABEL.
func newTrail(at time.Time) *trail {
	created := func(minutes int) *time.Time { t := at.Add(time.Duration(minutes) * time.Minute); return &t }
	base := stage.State{
		Key:     digest.FromString("base"),
		Config:  &layout.ImageConfig{OS: "linux", Architecture: "amd64"},
		Layers:  []stage.Layer{{Tree: "sha256:b", DiffID: "sha256:d", Blob: v1.Descriptor{Digest: "sha256:blob", Size: 1}}},
		History: []stage.History{{History: v1.History{CreatedBy: "base"}, Layer: 0}},
	}
	st := base.Clone()
	t := &trail{base: base.Clone(), st: &st}
	mark := func(id string, minutes int, config bool) {
		m := mark{id: digest.FromString(id), at: *created(minutes), layers: len(st.Layers), history: len(st.History)}
		if config {
			m.config = configOf(&st)
		}
		t.steps = append(t.steps, m)
	}
	st.Config.Config.Env = []string{"A=1"}
	st.History = append(st.History, stage.History{History: v1.History{CreatedBy: "ENV A=1"}, Layer: -1, Own: true})
	mark("env", 10, true)
	st.Layers = append(st.Layers, stage.Layer{Tree: "sha256:r"})
	st.History = append(st.History, stage.History{History: v1.History{CreatedBy: "RUN", Created: created(5)}, Layer: 1, Own: true})
	mark("run", 11, false)
	st.Config.Config.Labels = map[string]string{"l": "1"}
	st.History = append(st.History, stage.History{History: v1.History{CreatedBy: "LABEL l=1"}, Layer: -1, Own: true})
	mark("label", 12, true)
	return t
}

func TestAStateComesBackAsItWasAfterEachStep(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	s, err := newTrail(at).record("sha256:image", at.Add(20*time.Minute), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		env     []string
		labels  map[string]string
		layers  []stage.Layer
		history []string
		created time.Time
	}{
		{[]string{"A=1"}, nil, newTrail(at).base.Layers, []string{"base", "ENV A=1"}, at.Add(5*time.Minute - 1)},
		{[]string{"A=1"}, nil, newTrail(at).st.Layers, []string{"base", "ENV A=1", "RUN"}, at.Add(5 * time.Minute)},
		{[]string{"A=1"}, map[string]string{"l": "1"}, newTrail(at).st.Layers, []string{"base", "ENV A=1", "RUN", "LABEL l=1"}, at.Add(12 * time.Minute)},
	} {
		st, err := stateAt(s, i)
		if err != nil {
			t.Fatal(err)
		}
		var history []string
		for _, h := range st.History {
			history = append(history, h.CreatedBy)
		}
		if !slices.Equal(st.Config.Config.Env, want.env) || !reflect.DeepEqual(st.Config.Config.Labels, want.labels) ||
			!reflect.DeepEqual(st.Layers, want.layers) || st.Tree != want.layers[len(want.layers)-1].Tree ||
			!slices.Equal(history, want.history) || !st.Config.Created.Equal(want.created) {
			t.Errorf("after step %d: %+v of %s, %+v, %v", i, st.Config.Config, st.Config.Created, st.Layers, history)
		}
	}
}

func TestAnEpochIsTheTimeOfAllThatABuildDid(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	epoch := time.Unix(1, 0)
	s, err := newTrail(at).record("sha256:image", epoch, &epoch)
	if err != nil {
		t.Fatal(err)
	}
	st, err := stateAt(s, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range st.History {
		if own := i > 0; own != (h.Created != nil && h.Created.Equal(epoch)) {
			t.Errorf("%s was made %s", h.CreatedBy, h.Created)
		}
	}
	if !st.Config.Created.Equal(epoch) {
		t.Errorf("the image was made %s", st.Config.Created)
	}
}

func TestStagesAreToldApart(t *testing.T) {
	at := time.Now()
	name := func(tr *trail, image digest.Digest) digest.Digest {
		n, err := tr.name(image)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	again, shorter, other := newTrail(at.Add(time.Hour)), newTrail(at), newTrail(at)
	shorter.steps = shorter.steps[:2]
	other.st.Config.Config.User = "nobody" // as --env and the like change it
	want := name(newTrail(at), "")
	if name(again, "") != want {
		t.Error("the same stage has another name an hour later")
	}
	for what, n := range map[string]digest.Digest{
		"of an image": name(newTrail(at), "sha256:i"), "cut short": name(shorter, ""), "of another config": name(other, ""),
	} {
		if n == want {
			t.Errorf("a stage %s has the same name", what)
		}
	}
}

func TestWhatIsNoImageKeepsNoSecretArguments(t *testing.T) {
	at := time.Now()
	for image, want := range map[digest.Digest]string{"": "RUN |2 API_TOKEN= B=2", "sha256:image": "RUN |2 API_TOKEN=s3cret B=2"} {
		tr := newTrail(at)
		tr.st.SetArg("API_TOKEN", "s3cret")
		tr.st.SetArg("B", "2")
		tr.st.History[2].CreatedBy = "RUN |2 API_TOKEN=s3cret B=2"
		s, err := tr.record(image, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Steps[1].History.CreatedBy; got != want {
			t.Errorf("of image %q it says %s, not %s", image, got, want)
		}
	}
}
