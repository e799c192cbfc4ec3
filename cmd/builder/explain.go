package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/stage"
)

// ranBefore says whether a step is executed that was once known: what users
// want to be told without asking.
func ranBefore(r stage.Reason) bool {
	switch r.Cause {
	case stage.CauseChanged, stage.CauseGone, stage.CauseForgotten:
		return true
	}
	return false
}

// why puts a reason into a few words.
func why(r stage.Reason) string {
	switch r.Cause {
	case stage.CauseFirst:
		return "it was never built before"
	case stage.CauseNew:
		return "the instruction is new"
	case stage.CauseGone:
		return "its result isn't in the cache any more"
	case stage.CauseNoCache:
		return "the cache isn't to be used"
	case stage.CauseChanged:
		if len(r.Changes) > 0 {
			return firstChange(r)
		}
	}
	return "the record of the last build is gone"
}

// firstChange tells of the first change, and how many others there are.
func firstChange(r stage.Reason) string {
	first := r.Changes[0]
	text := difference(first)
	others := len(r.Changes) - 1
	if first.Kind == stage.ChangedFile {
		if r.Files > 1 {
			text += fmt.Sprintf(", and %s more", count(r.Files-1, "file"))
		}
		return text
	}
	// What the instruction's text names follows from it, as what a step below
	// brings follows from that.
	if others > 0 && first.Kind != stage.ChangedInstruction {
		text += fmt.Sprintf(", and %s more", count(others, "change"))
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// difference puts one change into words.
func difference(d stage.Difference) string {
	switch d.Kind {
	case stage.ChangedInstruction:
		return "the instruction was " + oneLine(d.Old)
	case stage.ChangedFile:
		return fileDifference(d)
	case stage.ChangedMount:
		return mountDifference(d)
	case stage.ChangedArg, stage.ChangedEnv:
		return strings.ToUpper(d.Kind) + " " + d.Name + " " + fromTo(d)
	case stage.ChangedBase:
		return fmt.Sprintf("%s is %s, was %s", oneLine(d.Name), shortDigest(d.New), shortDigest(d.Old))
	case stage.ChangedBelow:
		return "a step before it isn't the same: " + oneLine(d.Name)
	}
	return d.Name + " " + fromTo(d)
}

func fileDifference(d stage.Difference) string {
	name := d.Name
	if d.Mount != "" {
		name += " in the mount at " + d.Mount
	}
	switch d.How {
	case "added", "removed":
		return name + " was " + d.How
	case "content":
		return name + " changed"
	}
	return fmt.Sprintf("%s changed (%s)", name, d.How)
}

// mountDifference tells of a mount's own flags: of an added or removed one the
// instruction's text tells more.
func mountDifference(d stage.Difference) string {
	switch d.How {
	case "order":
		return "the mounts have another order"
	case "content":
		return "the mount at " + d.Name + " shows something else"
	case "changed":
		was, is := onlyDifferent(d.Old, d.New)
		return fmt.Sprintf("the mount %s changed from %s to %s", d.Name, was, is)
	}
	return fmt.Sprintf("the mount %s was %s", d.Name, d.How)
}

// onlyDifferent gives the words in which two texts differ.
func onlyDifferent(was, is string) (string, string) {
	old, now := strings.Fields(was), strings.Fields(is)
	rest := func(a, b []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(a), func(word string) bool { return slices.Contains(b, word) }), " ")
	}
	return rest(old, now), rest(now, old)
}

func fromTo(d stage.Difference) string {
	switch {
	case d.Old == "" && d.New == "":
		return changedOr(d.How)
	case d.How == "added":
		return fmt.Sprintf("was added: %s", oneLine(d.New))
	case d.How == "removed":
		return fmt.Sprintf("was removed: %s", oneLine(d.Old))
	}
	return fmt.Sprintf("changed from %q to %q", oneLine(d.Old), oneLine(d.New))
}

func changedOr(how string) string {
	if how == "added" || how == "removed" {
		return "was " + how
	}
	return "changed"
}

func shortDigest(text string) string {
	d := digest.Digest(text)
	if d.Validate() != nil {
		return "nothing"
	}
	return format.ShortID(d)
}

// oneLine cuts a text to what fits on a line, and takes from it what would steer
// the terminal.
func oneLine(text string) string {
	const longest = 60
	line, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > longest {
		line, more = string(runes[:longest]), true
	}
	if more {
		line += "…"
	}
	return printable(line)
}

// explanation gives a reason's lines: the short form, and where that doesn't
// say all, each change, indented.
func explanation(r stage.Reason) []string {
	lines := []string{printable("Not cached: " + why(r))}
	if len(r.Changes) < 2 && r.Files < 2 {
		return lines
	}
	named := 0
	for _, d := range r.Changes {
		lines = append(lines, printable("    "+difference(d)))
		if d.Kind == stage.ChangedFile {
			named++
		}
		if d.Kind == stage.ChangedFile && named == min(r.Files, 10) && r.Files > named {
			lines = append(lines, fmt.Sprintf("    and %s more", count(r.Files-named, "file")))
		}
	}
	return lines
}
