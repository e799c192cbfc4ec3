package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEnvironmentComesFromFilesAndFlags(t *testing.T) {
	t.Setenv("OURS", "mine")
	file := filepath.Join(t.TempDir(), "env")
	long := "LONG=" + strings.Repeat("x", 1<<17)
	for text, want := range map[string][]string{
		"# a comment\n\nA=from file\nOURS\nNOWHERE_TO_BE_FOUND\n  B=x # y\n": {"A=from file", "OURS=mine", "B=x # y"},
		"A=1\r\n" + long + "\nB=2": {"A=1", long, "B=2"},
		"\ufeffA=\"quoted\" ":      {`A="quoted" `},
		"A=":                       {"A="},
	} {
		write(t, file, text)
		if got, err := readEnvironment([]string{file}, nil); err != nil || !slices.Equal(got, want) {
			t.Errorf("%.40q: %d variables, %v", text, len(got), err)
		}
	}
	write(t, file, "A=from file\n")
	got, err := readEnvironment([]string{file}, []string{"A=flag", "OURS", "NOWHERE_TO_BE_FOUND"})
	if want := []string{"A=from file", "A=flag", "OURS=mine", "NOWHERE_TO_BE_FOUND"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got = mergeEnv([]string{"NOWHERE_TO_BE_FOUND=image", "PATH=/bin"}, got); !slices.Equal(got, []string{"PATH=/bin", "A=flag", "OURS=mine"}) {
		t.Errorf("merged: %q", got)
	}
}

func TestFilesOfVariablesAreReadOnce(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("A=piped\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	defer func() { _ = r.Close() }()
	request, err := requested("--env-file", "/dev/fd/"+strconv.Itoa(int(r.Fd())), "img")
	if err != nil || !slices.Equal(request.Env, []string{"A=piped"}) {
		t.Errorf("%q, %v", request.Env, err)
	}
}

func TestFilesOfVariablesTellTheirMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	for text, want := range map[string]string{
		"A=1\nB C=2\n": "invalid env file (" + file + "): line 2: variable 'B C' contains whitespaces",
		"A = 1":        "variable 'A ' contains whitespaces",
		"\n=x\n":       "line 2: no variable name on line '=x'",
		"A=\xff":       "line 1: invalid utf8 bytes",
	} {
		write(t, file, text)
		if _, err := readEnvironment([]string{file}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v", text, err)
		}
	}
	if _, err := readEnvironment([]string{file + ".gone"}, nil); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestLabelsComeFromFilesAndFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labels")
	write(t, file, "# ours\na=file\nbare\nb=x y\n")
	got, err := readLabels([]string{file}, []string{"a=flag", "c"})
	want := map[string]string{"a": "flag", "bare": "", "b": "x y", "c": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
