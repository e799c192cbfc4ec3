package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage/gc"
)

func pruneFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{
			Name: "keep-storage", Aliases: []string{"reserved-space"},
			Usage: "leave what was used last, up to `SIZE`, such as 5GB",
		},
		&cli.StringSliceFlag{Name: "filter", Usage: "`KEY=VALUE`: until (unused), id, type, description, shared, private, inuse"},
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
		textOrJSON(),
	}, granted("all", "a")...)
}

func cachePrune(c *cli.Context) error {
	limits, err := pruneLimits(c)
	if err != nil {
		return err
	}
	if !userns.Inside() && !c.Bool("force") {
		if err := confirm(c, "remove what is cached, so that the next builds execute it again"); err != nil {
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
	keep := c.String("keep-storage")
	if keep != "" {
		var err error
		if l.Keep, err = units.FromHumanSize(keep); err != nil || l.Keep < 0 {
			return l, usageError(c.Command.HelpName, "--keep-storage %q is no size, such as 5GB", keep)
		}
	}
	var filters []func(*gc.Entry) bool
	for _, text := range c.StringSlice("filter") {
		key, value, _ := strings.Cut(text, "=")
		if key == "until" || key == "unused-for" {
			age, err := time.ParseDuration(value)
			if err != nil || age < 0 {
				return l, usageError(c.Command.HelpName, "--filter %q: %s isn't a duration, such as 24h", text, strconv.Quote(value))
			}
			l.Before = time.Now().Add(-age)
			continue
		}
		matches, ok := cacheFilter(key, value)
		if !ok {
			return l, usageError(c.Command.HelpName, "--filter %q isn't known: it can be until=24h, type=regular, type=exec.cachemount, id=ID, description=TEXT, description~=REGEXP, shared, private or inuse", text)
		}
		filters = append(filters, matches)
	}
	if len(filters) > 0 {
		l.Match = func(e *gc.Entry) bool {
			for _, matches := range filters {
				if !matches(e) {
					return false
				}
			}
			return true
		}
	}
	if keep == "" && (!l.Before.IsZero() || l.Match != nil) {
		l.Keep = -1
	}
	return l, nil
}

// cacheFilter gives what a filter other than until asks of an entry, in the words
// of docker buildx prune, whose operators = and ~= and their negations it knows.
func cacheFilter(key, value string) (func(*gc.Entry) bool, bool) {
	negated := strings.HasSuffix(key, "!")
	key = strings.TrimSuffix(key, "!")
	name, isPattern := strings.CutSuffix(key, "~")
	field := cacheFields[name]
	if field == nil || isTruth(name) && isPattern {
		return nil, false
	}
	compare := func(text string) bool { return text == value }
	switch {
	case isTruth(name):
		if value == "" {
			value = "true"
		}
		if value != "true" && value != "false" {
			return nil, false
		}
	case value == "" || name == "type" && !isPattern && value != gc.TypeRegular && value != gc.TypeCacheMount:
		return nil, false
	case isPattern:
		pattern, err := regexp.Compile(value)
		if err != nil {
			return nil, false
		}
		compare = pattern.MatchString
	case name == "id":
		return func(e *gc.Entry) bool { return e.Named(value) != negated }, true
	}
	return func(e *gc.Entry) bool { return compare(field(e)) != negated }, true
}

func isTruth(name string) bool { return name == "shared" || name == "private" || name == "inuse" }

// cacheFields are what filters look at.
var cacheFields = map[string]func(*gc.Entry) string{
	"id":   func(e *gc.Entry) string { return e.ID() },
	"type": (*gc.Entry).Type,
	"description": func(e *gc.Entry) string {
		if e.Step != nil {
			return e.Step.Instruction
		}
		return newCacheEntry(e).text()
	},
	"shared":  func(e *gc.Entry) string { return strconv.FormatBool(e.Shared) },
	"private": func(e *gc.Entry) string { return strconv.FormatBool(!e.Shared) },
	"inuse":   func(e *gc.Entry) string { return strconv.FormatBool(e.InUse) },
}

// printPruned gives what prints the outcome of a removal.
func printPruned(c *cli.Context) func(gc.Pruned, error) error {
	return func(p gc.Pruned, err error) error {
		if err != nil {
			return err
		}
		entries := make([]cacheEntry, 0, len(p.Entries))
		for _, e := range p.Entries {
			entries = append(entries, newCacheEntry(e))
		}
		if c.String("format") == "json" {
			return printJSON(c.App.Writer, struct {
				Removed []cacheEntry `json:"removed"`
				Freed   int64        `json:"freed"`
				Later   int64        `json:"freedLater,omitempty"`
			}{entries, p.Bytes - p.Later, p.Later})
		}
		for _, e := range entries {
			if _, err := fmt.Fprintln(c.App.Writer, e.ID); err != nil {
				return err
			}
		}
		text := "Total reclaimed space: " + format.Size(p.Bytes-p.Later)
		if p.Later > 0 {
			text += fmt.Sprintf(" (%s more when no other command uses the store)", format.Size(p.Later))
		}
		_, err = fmt.Fprintln(c.App.Writer, text)
		return err
	}
}
