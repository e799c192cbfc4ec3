package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
)

// whyReport is what `cache why --format json` prints: a build, with its reasons
// read.
type whyReport struct {
	*cache.Build
	Steps []whyStep `json:"steps"`
}

// whyStep is one step that changes files. Reason is nil where it was cached.
type whyStep struct {
	cache.BuiltStep
	Reason *stage.Reason `json:"reason,omitempty"`
}

// cacheWhy tells why the last build executed what it did.
func cacheWhy(c *cli.Context) error {
	return withStore(c, func(store *storage.Store) error {
		last, err := store.Cache().LastBuild()
		if errors.Is(err, cache.ErrNotFound) {
			return fault.New("builder bud .", "nothing was built in this store yet")
		}
		if err != nil {
			return err
		}
		report, err := newWhyReport(last)
		if err != nil {
			return err
		}
		if c.String("format") == "json" {
			return printJSON(c.App.Writer, report)
		}
		return report.print(c.App.Writer)
	})
}

func newWhyReport(b *cache.Build) (*whyReport, error) {
	r := &whyReport{Build: b, Steps: []whyStep{}}
	for _, s := range b.Steps {
		if s.Place < 0 {
			continue
		}
		step := whyStep{BuiltStep: s}
		if s.Why != nil {
			step.Reason = new(stage.Reason)
			if err := json.Unmarshal(s.Why, step.Reason); err != nil {
				return nil, err
			}
			step.Why = nil // Reason says it
		}
		r.Steps = append(r.Steps, step)
	}
	return r, nil
}

func (r *whyReport) print(w io.Writer) error {
	text := "Dockerfile " + r.Dockerfile
	if r.Target != "" {
		text += ", target " + r.Target
	}
	text += "\n"
	cached := 0
	for _, s := range r.Steps {
		if s.Reason == nil {
			cached++
			continue
		}
		text += fmt.Sprintf("[%s] %s\n", s.Stage, oneLine(s.Instruction))
		for _, line := range explanation(*s.Reason) {
			text += "    " + line + "\n"
		}
	}
	switch {
	case len(r.Steps) == 1 && cached == 1:
		text += "Nothing was executed: the one step was cached.\n"
	case len(r.Steps) > 0 && cached == len(r.Steps):
		text += fmt.Sprintf("Nothing was executed: all %s were cached.\n", count(cached, "step"))
	default:
		text += fmt.Sprintf("%d of %s cached.\n", cached, count(len(r.Steps), "step"))
	}
	_, err := io.WriteString(w, text)
	return err
}

// printJSON prints one value for machines.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
