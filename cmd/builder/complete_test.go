package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// offers gives what a line goes on with, without descriptions. The line's last
// word is the one that is being written: none, where it ends with a blank.
func offers(line string) []string {
	var out bytes.Buffer
	complete(newApp(io.Discard, io.Discard), strings.Split(line, " "), &out)
	var words []string
	for line := range strings.Lines(out.String()) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words = append(words, word)
	}
	return words
}

func TestLinesGoOn(t *testing.T) {
	t.Setenv("BUILDER_ROOT", t.TempDir())
	tests := []struct{ line, want string }{
		{"bu", "bud images"},
		{"bui", "build"},
		{"image ", "ls pull rm"},
		{"system ", "check reset"},
		{"debug r", "ls rm"},
		{"--", "--root --storage-driver --log-level"},
		{"--storage-driver ", "fuse-overlayfs overlay vfs"},
		{"--log-level=", "--log-level=debug --log-level=warn"},
		{"--root ", offerDirectories},
		{"bud ", offerDirectories},
		{"bud -", "--tag --file --build-arg"},
		{"bud -t x --fi", "--file"},
		{"bud --git", "--git-modes"},
		{"bud --roo", "--root"},
		{"bud -f ", offerFiles},
		{"bud --file=", offerFiles},
		{"bud --format ", "oci docker"},
		{"bud --format=o", "--format=oci"},
		{"bud . --compression ", "gzip zstd none"},
		{"bud --progress=", "--progress=auto --progress=tty --progress=plain --progress=quiet"},
		{"bud --pull=", "--pull=always --pull=never"},
		{"bud --network ", "private host none pasta slirp4netns"},
		{"bud --platform ", "linux/arm64 linux/amd64 linux/s390x"},
		{"bud --on-failure ", "shell"},
		{"bud -qf ", offerFiles},
		{"run --rm -", "--env"},
		{"save -o ", offerFiles},
		{"images --filter ", "dangling= label= reference="},
		{"images --format ", "json"},
		{"load -i ", offerFiles},
		{"import ", offerFiles},
	}
	for _, test := range tests {
		got := offers(test.line)
		for want := range strings.FieldsSeq(test.want) {
			if !slices.Contains(got, want) {
				t.Errorf("%q lacks %s: %q", test.line, want, got)
			}
		}
	}
}

func TestNothingIsOfferedWhereNothingFits(t *testing.T) {
	t.Setenv("BUILDER_ROOT", t.TempDir())
	for _, line := range []string{
		"run busybox ", "run busybox -", "run busybox sh -", "rmi -- victim --fo", "rmi -- --fo",
		"bud --nonsense ", "nonsense ", "bud --nonsense=", "-- ", "version ", "bud . .",
		"bud --target ", "bud --quiet --q",
	} {
		if got := offers(line); len(got) > 0 {
			t.Errorf("%q goes on with %q", line, got)
		}
	}
}

func TestFlagsThatAreRefusedArentOffered(t *testing.T) {
	for _, line := range []string{"run --", "run --health-", "bud --cache-", "bud --lay"} {
		for _, flag := range []string{"--health-cmd", "--gpus", "--cache-from", "--layers"} {
			if slices.Contains(offers(line), flag) {
				t.Errorf("%q offers %s", line, flag)
			}
		}
	}
}

func TestDescriptionsListTheirValues(t *testing.T) {
	for usage, want := range map[string]string{
		"`NAME`: a (the first), b":                     "a b",
		"`NAME`: a, b or c":                            "a b c",
		"the `FORM`: table, json or a Go template":     "table json",
		"`FORMAT` of it: oci or docker; of both: json": "oci docker json",
		"`shell`: open one":                            "shell",
		"a `SIZE`, such as 5GB":                        "",
		"`NAME=VALUE`[:ro]":                            "",
	} {
		if got := strings.Join(listedValues(usage), " "); got != want {
			t.Errorf("%q: %q, not %q", usage, got, want)
		}
	}
}
