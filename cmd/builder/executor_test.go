package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/manual"
	"github.com/builder-oci/builder/storage"
)

func TestCalledAsExecutorBuilderIsKanikos(t *testing.T) {
	for _, tt := range []struct{ argv, want []string }{
		{[]string{"/kaniko/executor", "--no-push"}, []string{"builder", "executor", "--no-push"}},
		{[]string{"executor"}, []string{"builder", "executor"}},
		{[]string{"/usr/bin/builder", "executor"}, []string{"/usr/bin/builder", "executor"}},
		{nil, nil},
	} {
		if got := asExecutor(tt.argv); !slices.Equal(got, tt.want) {
			t.Errorf("asExecutor(%q) = %q, not %q", tt.argv, got, tt.want)
		}
	}
}

func TestExecutorHasItsPage(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	text := manual.Write(app, time.Unix(0, 0)).Text[manual.File(programName, executorName)]
	for _, f := range app.Command(executorName).Flags {
		for _, name := range f.Names() {
			if !strings.Contains(text, strings.ReplaceAll(flagdoc.Dashed(name), "-", `\-`)) {
				t.Errorf("the page lacks %s", flagdoc.Dashed(name))
			}
		}
	}
	if strings.Contains(manual.Write(app, time.Unix(0, 0)).Text[manual.File(programName)], executorName) {
		t.Error("the program's own page lists a hidden command")
	}
}

func TestOnlyImmutableTagsPass(t *testing.T) {
	for text, want := range map[string]bool{
		"The repository has enabled tag immutability":                       true,
		"tag v1: cannot be overwritten because the repository is immutable": true,
		"unauthorized: access to the requested resource is not authorized":  false,
	} {
		if got := isImmutable(errors.New(text)); got != want {
			t.Errorf("isImmutable(%q) = %t", text, got)
		}
	}
}

func TestExecutorsFilesLieInNobodyElsesDirectory(t *testing.T) {
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	if err := os.Symlink(dir, theirs); err != nil {
		t.Fatal(err)
	}
	t.Setenv(storage.RunDirEnv, theirs)
	if made, err := executionDir(); err == nil {
		t.Errorf("a link was followed to %s", made)
	}
	t.Setenv(storage.RunDirEnv, filepath.Join(dir, "mine"))
	if _, err := executionDir(); err != nil {
		t.Error(err)
	}
}
