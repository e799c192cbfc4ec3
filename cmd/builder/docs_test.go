package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// docs/bud.md lists the flags in groups; what --help leaves out is told there.
func TestEveryFlagOfBudIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/bud.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		cell, isRow := strings.CutPrefix(line, "| `-")
		if !isRow {
			continue
		}
		cell, _, _ = strings.Cut("`-"+cell, " | ")
		documented = append(documented, regexp.MustCompile("`-[^`]*`").FindAllString(cell, -1)...)
	}
	var defined []string
	for _, f := range newApp(io.Discard, io.Discard).Command("bud").Flags {
		for _, name := range f.Names() {
			defined = append(defined, "`"+flagdoc.Dashed(name)+"`")
		}
	}
	slices.Sort(documented)
	slices.Sort(defined)
	for _, flag := range defined {
		if !slices.Contains(documented, flag) {
			t.Errorf("docs/bud.md lacks %s", flag)
		}
	}
	for i, flag := range documented {
		if !slices.Contains(defined, flag) {
			t.Errorf("docs/bud.md has %s, which bud hasn't", flag)
		}
		if i > 0 && documented[i-1] == flag {
			t.Errorf("docs/bud.md has %s twice", flag)
		}
	}
}
