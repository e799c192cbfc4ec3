package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage/gc"
)

func cacheCommand() *cli.Command {
	return &cli.Command{
		Name:     "cache",
		Category: categoryBuild,
		Usage:    "Tell what is cached and why steps weren't; clean up",
		Subcommands: []*cli.Command{
			{
				Name:   "ls",
				Usage:  "List cached steps and cache mounts, the last used first",
				Flags:  []cli.Flag{textOrJSON()},
				Action: noArguments(insideNamespace(cacheList)),
			},
			{
				Name:      "rm",
				Usage:     "Remove cached steps, with those that stand on them, and cache mounts",
				ArgsUsage: "ID [ID...]",
				Flags:     []cli.Flag{textOrJSON()},
				Action:    cacheRemove,
			},
			{
				Name:   "prune",
				Usage:  "Remove what is cached, the least recently used first",
				Flags:  pruneFlags(),
				Action: noArguments(cachePrune),
			},
			{
				Name:   "why",
				Usage:  "Tell why the last build executed what it did",
				Flags:  []cli.Flag{textOrJSON()},
				Action: noArguments(cacheWhy),
			},
		},
	}
}

// textOrJSON is --format of commands that have no templates.
func textOrJSON() cli.Flag {
	return &cli.StringFlag{
		Name: "format", Usage: "`FORMAT`: text or json", Value: "text",
		Action: func(c *cli.Context, format string) error {
			if format != "text" && format != "json" {
				return usageError(c.Command.HelpName, "--format %q is neither text nor json", format)
			}
			return nil
		},
	}
}

func noArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() > 0 {
			return usageError(c.Command.HelpName, "%s takes no arguments", c.Command.HelpName)
		}
		return action(c)
	}
}

// insideNamespace runs an action with the store's collector inside the user
// namespace: trees can be measured and removed only there.
func insideNamespace(action func(*cli.Context, *gc.Collector) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if !userns.Inside() {
			return enterWithout(c)
		}
		store, err := openStore(c)
		if err != nil {
			return err
		}
		return errors.Join(action(c, store.Collector(true)), store.Close())
	}
}

// cacheEntry is one line of `cache ls`.
type cacheEntry struct {
	ID          string        `json:"id"`
	Key         digest.Digest `json:"key,omitempty"`
	Type        string        `json:"type"`
	Kind        string        `json:"kind"`
	Instruction string        `json:"instruction,omitempty"`
	Mount       string        `json:"mount,omitempty"`
	Created     time.Time     `json:"created,omitzero"`
	Used        time.Time     `json:"used"`
	Size        int64         `json:"size"`
	Shared      bool          `json:"shared"`
	InUse       bool          `json:"inUse"`
}

func newCacheEntry(e *gc.Entry) cacheEntry {
	entry := cacheEntry{
		ID: e.ID(), Key: e.Key, Type: e.Type(), Kind: "base",
		Used: e.Used.UTC(), Size: e.Bytes, Shared: e.Shared, InUse: e.InUse,
	}
	switch {
	case e.Step != nil:
		entry.Kind, entry.Instruction, entry.Created = e.Step.Kind, e.Step.Instruction, e.Step.Created
	case e.Mount != nil:
		entry.Kind, entry.Mount, entry.Created = "mount", e.Mount.ID, e.Mount.Created
	case e.Failure != nil:
		entry.Kind, entry.Instruction, entry.Created = "failed", e.Failure.Instruction, e.Failure.Failed
	}
	return entry
}

// text says what the entry is.
func (e cacheEntry) text() string {
	switch e.Kind {
	case "base":
		return "<the tree of a base image that was removed>"
	case "mount":
		return "<cache mount> " + oneLine(e.Mount)
	case "failed":
		return oneLine(e.Instruction) + " (failed)"
	}
	return oneLine(e.Instruction)
}

// notes says what the size alone doesn't.
func (e cacheEntry) notes() string {
	var notes []string
	if e.Shared {
		notes = append(notes, "an image's")
	}
	if e.InUse {
		notes = append(notes, "in use")
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

func cacheList(c *cli.Context, collector *gc.Collector) error {
	found, total, err := collector.Usage()
	if err != nil {
		return err
	}
	entries := make([]cacheEntry, 0, len(found))
	for i := len(found) - 1; i >= 0; i-- {
		entries = append(entries, newCacheEntry(found[i]))
	}
	if c.String("format") == "json" {
		return printJSON(c.App.Writer, struct {
			Steps []cacheEntry `json:"steps"`
			Total int64        `json:"total"`
		}{entries, total})
	}
	return printCache(c.App.Writer, entries, total)
}

func printCache(w io.Writer, entries []cacheEntry, total int64) error {
	rows := [][]string{{"ID", "LAST USED", "SIZE", "INSTRUCTION"}}
	now := time.Now()
	for _, e := range entries {
		rows = append(rows, []string{e.ID, format.Ago(e.Used, now), format.Size(e.Size) + e.notes(), e.text()})
	}
	if err := format.Rows(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Only the cache holds %s.\n", format.Size(total))
	return err
}

func cacheRemove(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs the ids of steps or cache mounts", c.Command.HelpName)
	}
	return insideNamespace(func(c *cli.Context, collector *gc.Collector) error {
		return printPruned(c)(collector.Remove(c.Context, c.Args().Slice()))
	})(c)
}
