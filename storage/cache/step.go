package cache

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Step is the record of one instruction that changes files, and of what else a
// cached build has to find again: docs/format.md tells the kinds.
type Step struct {
	// Key names the step, Parent the tree that it started from: a step's key, a
	// chain ID, or "" for scratch.
	Key    Key `json:"key"`
	Parent Key `json:"parent,omitempty"`
	// Result names the outcome of this execution of the step: the snapshot's
	// key, and what the keys of the steps that follow are made from. Two
	// executions of one step have two results.
	Result Key `json:"result,omitempty"`
	// Follows says that Parent is another step's Result, and not a base image or
	// nothing.
	Follows bool `json:"follows,omitempty"`
	// Version is that of the rules by which the key was made.
	Version int `json:"version"`
	// Kind is the instruction's name in lower case, "alias" or "image";
	// Instruction its text as the Dockerfile has it, CreatedBy as the image's
	// history will.
	Kind        string `json:"kind"`
	Instruction string `json:"instruction"`
	CreatedBy   string `json:"createdBy,omitempty"`
	// Created is when the step was first made: a cached build repeats it.
	Created time.Time `json:"created"`
	// Log is the file with the step's output, "" where there was none.
	Log string `json:"log,omitempty"`
	// Digest is, of an alias, that of the entries which a COPY --from makes.
	Digest string `json:"digest,omitempty"`
}

// Input is one thing that went into a key: {"env:PATH", a digest},
// {"file:src/a.c", "0644 sha256:..."}. A step may have very many: PutStep
// writes them, but only Cache.Inputs reads them.
type Input struct {
	Name, Value string
}

// Step gives the record of key, or ErrNotFound. It is one
// short read, however many inputs the step had.
func (c *Cache) Step(key Key) (*Step, error) {
	step, f, _, err := c.openStep(key)
	if err != nil {
		return nil, err
	}
	c.used.Store(c.path(stepsDir, key), nil)
	return step, f.Close()
}

// Inputs gives what went into key, in the order of PutStep, or ErrNotFound.
func (c *Cache) Inputs(key Key) ([]Input, error) {
	var inputs []Input
	err := c.EachInput(key, func(in Input) { inputs = append(inputs, in) })
	return inputs, err
}

// EachInput is Inputs for a step that may have very many: it keeps none.
func (c *Cache) EachInput(key Key, fn func(Input)) error {
	_, f, r, err := c.openStep(key)
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := json.NewDecoder(r); lines.More(); {
		var pair [2]string
		if err := lines.Decode(&pair); err != nil {
			return fmt.Errorf("inputs of step %s: %w", key, err)
		}
		fn(Input{pair[0], pair[1]})
	}
	return nil
}

// PutStep records a step and what went into its key, which may be nil. The
// record is seen whole or not at all, but it is not waited for that it reaches
// the disk: see Sync.
func (c *Cache) PutStep(step *Step, inputs iter.Seq[Input]) error {
	if err := step.Key.Validate(); err != nil {
		return err
	}
	err := atomicfile.StreamUnsynced(c.path(stepsDir, step.Key), 0o600, func(w io.Writer) error {
		text := bufio.NewWriterSize(w, 64<<10)
		lines := json.NewEncoder(text)
		lines.SetEscapeHTML(false)
		if err := lines.Encode(step); err != nil {
			return err
		}
		if inputs == nil {
			return text.Flush()
		}
		for in := range inputs {
			if err := lines.Encode([2]string{in.Name, in.Value}); err != nil {
				return err
			}
		}
		return text.Flush()
	})
	if err != nil {
		return fmt.Errorf("record the step: %w", err)
	}
	c.used.Store(c.path(stepsDir, step.Key), nil)
	return nil
}

// RemoveStep forgets a step and removes its log.
func (c *Cache) RemoveStep(step *Step) error {
	var errs []error
	if step.Log != "" {
		errs = append(errs, os.Remove(c.LogPath(step)))
	}
	errs = append(errs, os.Remove(c.path(stepsDir, step.Key)))
	for _, err := range errs {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// OldLogs gives the paths of logs that no step names and that are older than
// age: those of instructions that failed.
func (c *Cache) OldLogs(age time.Duration) ([]string, error) {
	keys, err := c.Keys()
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, key := range keys {
		if step, err := c.Step(key); err == nil && step.Log != "" {
			named[c.LogPath(step)] = true
		}
	}
	logs, err := os.ReadDir(filepath.Join(c.dir, logsDir))
	if err != nil {
		return nil, err
	}
	var old []string
	for _, log := range logs {
		path := filepath.Join(c.dir, logsDir, log.Name())
		if st, err := log.Info(); err == nil && !named[path] && time.Since(st.ModTime()) > age {
			old = append(old, path)
		}
	}
	return old, nil
}

// LogPath is where the output of a step is that has some. The store may have
// been moved since the step was recorded.
func (c *Cache) LogPath(step *Step) string {
	return filepath.Join(c.dir, logsDir, filepath.Base(step.Log))
}

// Keys gives the key of every recorded step, readable or not.
func (c *Cache) Keys() ([]Key, error) {
	names, err := os.ReadDir(filepath.Join(c.dir, stepsDir))
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(names))
	for _, name := range names {
		if strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			continue
		}
		keys = append(keys, digest.NewDigestFromEncoded(digest.SHA256, name.Name()))
	}
	return keys, nil
}

// StepPath is the file that records a step.
func (c *Cache) StepPath(key Key) string { return c.path(stepsDir, key) }

// openStep reads a record's first line, and leaves r at the inputs.
func (c *Cache) openStep(key Key) (step *Step, f *os.File, r *bufio.Reader, err error) {
	if err := key.Validate(); err != nil {
		return nil, nil, nil, err
	}
	f, err = os.Open(c.path(stepsDir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	r = bufio.NewReader(f)
	line, err := r.ReadBytes('\n')
	step = new(Step)
	if err != nil || json.Unmarshal(line, step) != nil || step.Key != key {
		// Torn by a power failure: as good as never written.
		return nil, nil, nil, errors.Join(fmt.Errorf("%s is unreadable: %w", key, ErrNotFound), f.Close())
	}
	return step, f, r, nil
}
