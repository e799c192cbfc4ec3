package main

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/stage"
)

func TestReasonInWords(t *testing.T) {
	file := func(name, how string) stage.Difference {
		return stage.Difference{Kind: stage.ChangedFile, Name: name, How: how}
	}
	for want, r := range map[string]stage.Reason{
		"it was never built before":              {Cause: stage.CauseFirst},
		"its result isn't in the cache any more": {Cause: stage.CauseGone},
		"a changed":                              {Cause: stage.CauseChanged, Files: 1, Changes: []stage.Difference{file("a", "content")}},
		"a changed (mode, owner)":                {Cause: stage.CauseChanged, Files: 1, Changes: []stage.Difference{file("a", "mode, owner")}},
		"a was added, and 11 files more":         {Cause: stage.CauseChanged, Files: 12, Changes: []stage.Difference{file("a", "added"), file("b", "removed")}},
		"a was removed, and 1 file more":         {Cause: stage.CauseChanged, Files: 2, Changes: []stage.Difference{file("a", "removed"), file("b", "removed")}},
		`ARG V changed from "1" to "2"`: {Cause: stage.CauseChanged, Changes: []stage.Difference{
			{Kind: stage.ChangedArg, Name: "V", How: "changed", Old: "1", New: "2"},
		}},
		"ENV TOKEN changed, and 1 change more": {Cause: stage.CauseChanged, Changes: []stage.Difference{
			{Kind: stage.ChangedEnv, Name: "TOKEN", How: "changed"}, {Kind: stage.ChangedBelow, Name: "RUN x"},
		}},
		"the instruction was RUN old": {Cause: stage.CauseChanged, Changes: []stage.Difference{
			{Kind: stage.ChangedInstruction, Old: "RUN old", New: "RUN new"}, {Kind: stage.ChangedBelow},
		}},
		"FROM a is 111111111111, was nothing": {Cause: stage.CauseChanged, Changes: []stage.Difference{
			{Kind: stage.ChangedBase, Name: "FROM a", New: "sha256:" + strings.Repeat("1", 64)},
		}},
	} {
		if got := why(r); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
