package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// stagesDir is where walked stages are kept, below the store's cache/.
const stagesDir = "stages"

// Stage tells what a build has made of one stage: from the state after FROM, and
// what each instruction has changed, the image can be made that there was after
// any of them.
type Stage struct {
	// Image is the id of the image that the stage became, "" where it became
	// none: another stage was the target, or the build failed.
	Image Key `json:"image,omitempty"`
	// Base is the id of the image that FROM names, or what the base stage or
	// nothing has in its place.
	Base Key `json:"base"`
	// Config is that of the image after FROM, without layers and history.
	Config  json.RawMessage `json:"config"`
	Layers  []StageLayer    `json:"layers,omitempty"`
	History []StageHistory  `json:"history,omitempty"`

	Steps []StageStep `json:"-"`
}

// StageStep is one instruction of a stage, and what it has changed.
type StageStep struct {
	// ID is the step's id: 12 digits of it are shown.
	ID Key `json:"id"`
	// Created is when the step was first done.
	Created time.Time `json:"created"`
	// Config is the whole config where the instruction has changed it.
	Config  json.RawMessage `json:"config,omitempty"`
	Layer   *StageLayer     `json:"layer,omitempty"`
	History *StageHistory   `json:"history,omitempty"`
}

// StageLayer is a layer of a stage.
type StageLayer struct {
	// Tree is the key of the tree in which it is topmost; Alone, where set, of
	// one that holds nothing else.
	Tree  Key `json:"tree"`
	Alone Key `json:"alone,omitempty"`
	// Blob and DiffID are those of a layer that came with the base image.
	Blob   *v1.Descriptor `json:"blob,omitempty"`
	DiffID Key            `json:"diffID,omitempty"`
	// Written says that the layer is COPY's or ADD's.
	Written bool `json:"written,omitempty"`
}

// StageHistory is a line of the history. Layer counts from 0; -1 is no layer.
type StageHistory struct {
	v1.History
	Layer int `json:"layer"`
}

// HasStage says whether a walked stage is recorded under name, and notes its use.
// One that a power failure has torn isn't.
func (c *Cache) HasStage(name Key) bool {
	path := c.path(stagesDir, name)
	if _, err := readStage(path, ""); err != nil {
		return false
	}
	noteUse(path)
	return true
}

// PutStage records a walked stage. The name is a digest of all that tells it from
// others.
func (c *Cache) PutStage(name Key, s *Stage) error {
	text := new(bytes.Buffer)
	lines := json.NewEncoder(text)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(s); err != nil {
		return err
	}
	for _, step := range s.Steps {
		if err := lines.Encode(step); err != nil {
			return err
		}
	}
	path := c.path(stagesDir, name)
	// A store may be older than the directory.
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := atomicfile.WriteUnsynced(path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("remember the stage: %w", err)
	}
	return nil
}

// Stages yields the stages that were walked, the last used first, or the error
// that ends the search. Torn ones are passed over.
func (c *Cache) Stages() iter.Seq2[*Stage, error] { return c.stages("") }

// StagesOf are those that became the image with an id.
func (c *Cache) StagesOf(image Key) iter.Seq2[*Stage, error] {
	return c.stages(`{"image":"` + image.String() + `"`)
}

// StagesWith are those that have a step whose id begins with these digits.
func (c *Cache) StagesWith(digits string) iter.Seq2[*Stage, error] {
	return c.stages(`{"id":"sha256:` + digits)
}

// stages yields those whose record has a text: most of many needn't be decoded.
func (c *Cache) stages(with string) iter.Seq2[*Stage, error] {
	return func(yield func(*Stage, error) bool) {
		type file struct {
			path string
			used time.Time
		}
		var files []file
		err := c.each(stagesDir, func(path string, st fs.FileInfo) { files = append(files, file{path, st.ModTime()}) })
		if err != nil {
			yield(nil, err)
			return
		}
		slices.SortFunc(files, func(a, b file) int { return b.used.Compare(a.used) })
		for _, f := range files {
			s, err := readStage(f.path, with)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

func readStage(path, with string) (*Stage, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(text, []byte(with)) {
		return nil, ErrNotFound
	}
	return decodeStage(text)
}

func decodeStage(text []byte) (*Stage, error) {
	lines := json.NewDecoder(bytes.NewReader(text))
	s := new(Stage)
	if err := lines.Decode(s); err != nil {
		return nil, fmt.Errorf("the stage is unreadable: %w", ErrNotFound)
	}
	for lines.More() {
		var step StageStep
		if lines.Decode(&step) != nil || step.ID.Validate() != nil {
			return nil, fmt.Errorf("the stage is unreadable: %w", ErrNotFound)
		}
		s.Steps = append(s.Steps, step)
	}
	return s, nil
}
