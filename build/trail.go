package build

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
)

// trail is what a stage has come to after FROM and after each instruction since.
// It is kept when the build ends, so that the ids which were printed can be used
// like images'.
type trail struct {
	base stage.State
	// st is the stage's state, whose layers and history only grow.
	st       *stage.State
	steps    []mark
	complete bool
}

// mark is where a step ended.
type mark struct {
	id              digest.Digest
	at              time.Time
	config          *layout.ImageConfig // nil where it is that of the step before
	layers, history int
}

// follow begins a stage's trail, after FROM. A build that only looks keeps none.
func (b *build) follow(s *dockerfile.Stage, r *stage.Runner, st *stage.State) *trail {
	if b.trails == nil || r.DefinesOnly() {
		return nil
	}
	t := &trail{base: st.Clone(), st: st}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trails[s.Index] = t
	return t
}

// note adds the step that an instruction was. Instructions that change files leave
// the config alone, but for WORKDIR.
func (t *trail) note(in dockerfile.Instruction) {
	if t == nil {
		return
	}
	m := mark{id: t.st.ID, at: time.Now().UTC(), layers: len(t.st.Layers), history: len(t.st.History)}
	if !isRun(in) && !isCopy(in) {
		m.config = configOf(t.st)
	}
	t.steps = append(t.steps, m)
}

// end says that nothing comes after the last step.
func (t *trail) end() {
	if t != nil {
		t.complete = true
	}
}

// saveTrails keeps the stages that the build has walked. A build of what is known
// finds them kept, and writes nothing. What can't be kept can't be used by its id,
// no more.
func (b *build) saveTrails(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	target := b.target()
	for index, t := range b.trails {
		if len(t.steps) == 0 || !t.complete && !failed {
			continue
		}
		var image digest.Digest
		if index == target.Index && !failed {
			image = b.result.ID
		}
		b.saveTrail(t, image)
	}
}

func (b *build) saveTrail(t *trail, image digest.Digest) {
	c := b.env.Store.Cache()
	name, err := t.name(image)
	if err != nil || c.HasStage(name) {
		return
	}
	if s, err := t.record(image, b.dated, b.o.Epoch); err == nil {
		_ = c.PutStage(name, s)
	}
}

// name is made of what tells the stage from others: the ids say what its
// instructions were, but not what the command line added to FROM.
func (t *trail) name(image digest.Digest) (digest.Digest, error) {
	config, err := json.Marshal(t.st.Config)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s %s\n", t.base.Key, image, config)
	for _, m := range t.steps {
		_, _ = fmt.Fprintln(h, m.id)
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// record turns the trail into what the cache keeps. The image, if there is one, was
// made at the time dated.
func (t *trail) record(image digest.Digest, dated time.Time, epoch *time.Time) (*cache.Stage, error) {
	times := t.times(image, dated, epoch)
	config, err := json.Marshal(configOf(&t.base))
	if err != nil {
		return nil, err
	}
	s := &cache.Stage{Image: image, Base: t.base.Key, Config: config}
	for _, l := range t.base.Layers {
		s.Layers = append(s.Layers, layerRecord(l))
	}
	for _, h := range t.base.History {
		s.History = append(s.History, historyRecord(h, times[0], epoch))
	}
	layers, history := len(t.base.Layers), len(t.base.History)
	for i, m := range t.steps {
		step := cache.StageStep{ID: m.id, Created: times[i]}
		if m.config != nil {
			if step.Config, err = json.Marshal(m.config); err != nil {
				return nil, err
			}
		}
		if m.layers > layers {
			l := layerRecord(t.st.Layers[layers])
			step.Layer = &l
		}
		if m.history > history {
			h := historyRecord(t.st.History[history], times[i], epoch)
			if image == "" { // else the image tells it too
				h.CreatedBy = t.st.OpenLine(h.CreatedBy)
			}
			step.History = &h
		}
		layers, history = m.layers, m.history
		s.Steps = append(s.Steps, step)
	}
	return s, nil
}

// times says when each step was first done. That is known of those that have
// layers; the others were done before what follows them, however late this build
// has come by.
func (t *trail) times(image digest.Digest, dated time.Time, epoch *time.Time) []time.Time {
	times := make([]time.Time, len(t.steps))
	next := time.Now().UTC()
	if image != "" {
		next = dated
	}
	for i := len(t.steps) - 1; i >= 0; i-- {
		m := t.steps[i]
		times[i] = m.at
		if m.history > 0 && t.st.History[m.history-1].Layer >= 0 && t.st.History[m.history-1].Created != nil {
			times[i] = *t.st.History[m.history-1].Created
		}
		if !times[i].Before(next) {
			times[i] = next.Add(-1)
		}
		next = times[i]
		if epoch != nil {
			times[i] = epoch.UTC()
		}
	}
	return times
}

// configOf gives a state's config by itself.
func configOf(st *stage.State) *layout.ImageConfig {
	config := st.Config.Clone()
	config.RootFS = v1.RootFS{}
	return config
}

// historyRecord dates what this build did and has no time of its own; with an
// epoch all that it did.
func historyRecord(h stage.History, made time.Time, epoch *time.Time) cache.StageHistory {
	if h.Own && (h.Created == nil || epoch != nil) {
		h.Created = &made
	}
	return cache.StageHistory{History: h.History, Layer: h.Layer}
}

func layerRecord(l stage.Layer) cache.StageLayer {
	rec := cache.StageLayer{Tree: l.Tree, Alone: l.Alone, DiffID: l.DiffID, Written: l.Written}
	if l.FromImage() {
		rec.Blob = &l.Blob
	}
	return rec
}

// stateAt gives the state after one of a kept stage's steps.
func stateAt(s *cache.Stage, step int) (*stage.State, error) {
	st := &stage.State{}
	config := s.Config
	addLayer := func(l cache.StageLayer) {
		from := stage.Layer{Tree: l.Tree, Alone: l.Alone, DiffID: l.DiffID, Written: l.Written}
		if l.Blob != nil {
			from.Blob = *l.Blob
		}
		st.Layers, st.Tree = append(st.Layers, from), l.Tree
	}
	for _, l := range s.Layers {
		addLayer(l)
	}
	history := s.History
	for _, it := range s.Steps[:step+1] {
		if it.Config != nil {
			config = it.Config
		}
		if it.Layer != nil {
			addLayer(*it.Layer)
		}
		if it.History != nil {
			history = append(history[:len(history):len(history)], *it.History)
		}
	}
	for _, h := range history {
		st.History = append(st.History, stage.History{History: h.History, Layer: h.Layer})
	}
	st.Config = new(layout.ImageConfig)
	if err := json.Unmarshal(config, st.Config); err != nil {
		return nil, err
	}
	st.Config.Created = &s.Steps[step].Created
	return st, nil
}
