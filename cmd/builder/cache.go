package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

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
				Usage:  "List the cached steps, the last used first",
				Flags:  []cli.Flag{textOrJSON()},
				Action: noArguments(insideNamespace(cacheList)),
			},
			{
				Name:      "rm",
				Usage:     "Remove cached steps, and those that stand on them",
				ArgsUsage: "STEP [STEP...]",
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

func pruneFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "keep-storage", Usage: "leave what was used last, up to `SIZE`, such as 5GB"},
		&cli.StringSliceFlag{Name: "filter", Usage: "`until=DURATION`: only what wasn't used for so long, such as 24h"},
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		textOrJSON(),
	}, granted("all", "a")...)
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
	Key         digest.Digest `json:"key"`
	Kind        string        `json:"kind"`
	Instruction string        `json:"instruction,omitempty"`
	Created     time.Time     `json:"created,omitzero"`
	Used        time.Time     `json:"used"`
	Size        int64         `json:"size"`
	Shared      bool          `json:"shared"`
}

func newCacheEntry(e *gc.Entry) cacheEntry {
	entry := cacheEntry{ID: shortID(e.Key), Key: e.Key, Kind: "base", Used: e.Used.UTC(), Size: e.Bytes, Shared: e.Shared}
	switch {
	case e.Step != nil:
		entry.Kind, entry.Instruction, entry.Created = e.Step.Kind, e.Step.Instruction, e.Step.Created
	case e.Failure != nil:
		entry.Kind, entry.Instruction, entry.Created = "failed", e.Failure.Instruction, e.Failure.Failed
	}
	return entry
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
	rows := [][]string{{"STEP", "LAST USED", "SIZE", "INSTRUCTION"}}
	now := time.Now()
	for _, e := range entries {
		text, bytes := oneLine(e.Instruction), size(e.Size)
		if e.Kind == "base" {
			text = "<the tree of a base image that was removed>"
		}
		if e.Kind == "failed" {
			text += " (failed)"
		}
		if e.Shared {
			bytes += " (an image's)"
		}
		rows = append(rows, []string{e.ID, ago(e.Used, now), bytes, text})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Only the cache holds %s.\n", size(total))
	return err
}

func cacheRemove(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs the ids of steps", c.Command.HelpName)
	}
	return insideNamespace(func(c *cli.Context, collector *gc.Collector) error {
		return printPruned(c)(collector.Remove(c.Context, c.Args().Slice()))
	})(c)
}

func cachePrune(c *cli.Context) error {
	limits, err := pruneLimits(c)
	if err != nil {
		return err
	}
	if !userns.Inside() && !c.Bool("force") {
		if err := confirm(c, "remove cached steps, so that the next builds execute them again"); err != nil {
			return err
		}
	}
	return insideNamespace(func(c *cli.Context, collector *gc.Collector) error {
		return printPruned(c)(collector.Prune(c.Context, limits))
	})(c)
}

// pruneLimits reads what is to stay.
func pruneLimits(c *cli.Context) (gc.Limits, error) {
	var l gc.Limits
	if text := c.String("keep-storage"); text != "" {
		var err error
		if l.Keep, err = units.FromHumanSize(text); err != nil || l.Keep < 0 {
			return l, usageError(c.Command.HelpName, "--keep-storage %q is no size, such as 5GB", text)
		}
	}
	for _, filter := range c.StringSlice("filter") {
		name, value, _ := strings.Cut(filter, "=")
		age, err := time.ParseDuration(value)
		if name != "until" || err != nil || age < 0 {
			return l, usageError(c.Command.HelpName, "--filter %q isn't known: it can be until=DURATION, such as until=24h", filter)
		}
		l.Before = time.Now().Add(-age)
	}
	if c.String("keep-storage") == "" && !l.Before.IsZero() {
		l.Keep = -1
	}
	return l, nil
}

// printPruned gives what prints the outcome of a removal.
func printPruned(c *cli.Context) func(gc.Pruned, error) error {
	return func(p gc.Pruned, err error) error {
		if err != nil {
			return err
		}
		entries := make([]cacheEntry, 0, len(p.Steps))
		for _, e := range p.Steps {
			entries = append(entries, newCacheEntry(e))
		}
		if c.String("format") == "json" {
			return printJSON(c.App.Writer, struct {
				Removed []cacheEntry `json:"removed"`
				Freed   int64        `json:"freed"`
			}{entries, p.Bytes})
		}
		for _, e := range entries {
			if _, err := fmt.Fprintln(c.App.Writer, e.ID); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(c.App.Writer, "Total reclaimed space: %s\n", size(p.Bytes))
		return err
	}
}
