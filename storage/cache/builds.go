package cache

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Build tells what the last build of one Dockerfile, target, context and
// platform came to, so that the next one can say why a step isn't known any more.
type Build struct {
	// Dockerfile and Context are absolute paths, or what the user calls them
	// where they are no files; Target is "" for the last stage.
	Dockerfile string `json:"dockerfile"`
	Context    string `json:"context"`
	Target     string `json:"target,omitempty"`
	// Platform is what was built for, "" for this machine's.
	Platform string `json:"platform,omitempty"`
	// Finished is when the list was last changed. The file's time is when it
	// last held.
	Finished time.Time `json:"finished"`
	// Failed says that the build ended with an error.
	Failed bool `json:"failed"`

	Steps []BuiltStep `json:"-"`
}

// BuiltStep is FROM, or an instruction that changes files, as a build left it.
type BuiltStep struct {
	// Stage is the stage's name, or its number where it has none. Place counts
	// the instructions of the stage from 0, with the triggers of its base first;
	// FROM has -1.
	Stage string `json:"stage"`
	Place int    `json:"place"`
	// Instruction is the text, cut to what is needed to tell it from others.
	Instruction string `json:"instruction"`
	// Key is the step's; of FROM, the image's id or the base stage's state.
	// Parent is the key that the step's was made from.
	Key    Key `json:"key,omitempty"`
	Parent Key `json:"parent,omitempty"`
	// Why tells why the build executed the step: nothing, where it was known.
	Why json.RawMessage `json:"why,omitempty"`
}

const (
	buildsDir = "builds"
	// maxBuilds bounds how many builds are remembered.
	maxBuilds = 200
)

// ID names the builds of the same Dockerfile, context, target and platform.
func (b *Build) ID() Key {
	id := b.Dockerfile + "\x00" + b.Context + "\x00" + b.Target
	if b.Platform != "" {
		id += "\x00" + b.Platform
	}
	return digest.FromString(id)
}

// Build gives the last build with this id, or ErrNotFound.
func (c *Cache) Build(id Key) (*Build, error) {
	data, err := os.ReadFile(c.path(buildsDir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return decodeBuild(data)
}

// LastBuild gives the build that ended last, of whatever it was, or ErrNotFound.
func (c *Cache) LastBuild() (*Build, error) {
	files, err := c.buildFiles()
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, ErrNotFound
	}
	data, err := os.ReadFile(files[0].path)
	if err != nil {
		return nil, err
	}
	return decodeBuild(data)
}

// PutBuild replaces what is remembered of the builds with b's id. Of very many
// the oldest are forgotten.
func (c *Cache) PutBuild(b *Build) error {
	text := new(bytes.Buffer)
	lines := json.NewEncoder(text)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(b); err != nil {
		return err
	}
	for _, step := range b.Steps {
		if err := lines.Encode(step); err != nil {
			return err
		}
	}
	path := c.path(buildsDir, b.ID())
	_, err := os.Lstat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := atomicfile.WriteUnsynced(path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("remember the build: %w", err)
	}
	if isNew {
		return c.boundBuilds()
	}
	return nil
}

// TouchBuild notes that a build came to the same as the last one with this id.
func (c *Cache) TouchBuild(id Key) error {
	return os.Chtimes(c.path(buildsDir, id), time.Time{}, time.Now())
}

// OldBuilds gives the files that remember builds which nobody has repeated for
// longer than age.
func (c *Cache) OldBuilds(age time.Duration) ([]string, error) {
	files, err := c.buildFiles()
	var old []string
	for _, f := range files {
		if time.Since(f.time) > age {
			old = append(old, f.path)
		}
	}
	return old, err
}

// boundBuilds forgets the oldest builds.
func (c *Cache) boundBuilds() error {
	files, err := c.buildFiles()
	if err != nil || len(files) <= maxBuilds {
		return err
	}
	var errs []error
	for _, f := range files[maxBuilds:] {
		if err := os.Remove(f.path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

type buildFile struct {
	path string
	time time.Time
}

// buildFiles gives the files of builds, the latest first.
func (c *Cache) buildFiles() ([]buildFile, error) {
	dir := filepath.Join(c.dir, buildsDir)
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []buildFile
	for _, name := range names {
		st, err := name.Info()
		if err == nil && !strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			files = append(files, buildFile{filepath.Join(dir, name.Name()), st.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b buildFile) int { return b.time.Compare(a.time) })
	return files, nil
}

// decodeBuild reads a build; a torn one counts as never remembered.
func decodeBuild(data []byte) (*Build, error) {
	lines := json.NewDecoder(bufio.NewReader(bytes.NewReader(data)))
	b := new(Build)
	if err := lines.Decode(b); err != nil {
		return nil, fmt.Errorf("the build is unreadable: %w", ErrNotFound)
	}
	for lines.More() {
		var step BuiltStep
		if err := lines.Decode(&step); err != nil {
			return nil, fmt.Errorf("the build is unreadable: %w", ErrNotFound)
		}
		b.Steps = append(b.Steps, step)
	}
	return b, nil
}
