package stage

import (
	"context"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// elsewhere is a source of ADD that has only an identity.
type elsewhere struct {
	Remote
	identity string
}

func (e elsewhere) Identity(context.Context) (string, error) { return e.identity, nil }

func selectionDigest(t *testing.T, in Copy) digest.Digest {
	t.Helper()
	s := &selection{in: in}
	if err := s.load(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	d, err := s.digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Patterns of --exclude are a Dockerfile's own words, and may be made to look
// like a further source.
func TestPatternsCantPoseAsSources(t *testing.T) {
	a, b := elsewhere{identity: "git a /"}, elsewhere{identity: "git b /"}
	two := Copy{Verb: "ADD", Dest: "/d/", Chmod: "644", Sources: []string{"a", "b"}, Remote: map[string]Remote{"a": a, "b": b}}
	one := Copy{Verb: "ADD", Dest: "/d/", Chmod: "644", Sources: []string{"a"}, Remote: map[string]Remote{"a": a}}
	one.Exclude = []string{"remote", b.identity, one.Chmod}
	if selectionDigest(t, one) == selectionDigest(t, two) {
		t.Error("one source with patterns has the digest of two")
	}
}

// ADD unpacks an archive that is a file, and never a here-document.
func TestAHereDocumentIsNoFileForADD(t *testing.T) {
	in := Copy{Verb: "ADD", Dest: "/d/", Extract: true, Contents: []Content{{Name: "x", Data: "data"}}}
	document := selectionDigest(t, in)
	f := in.Contents[0].file()
	file := item{source: source{name: "x", top: f}, count: 1, kept: []*File{f}}
	s := &selection{in: Copy{Extract: true}, items: []item{file}}
	if d, err := s.digest(t.Context()); err != nil || d == document {
		t.Errorf("a file has the digest of a here-document (%v)", err)
	}
}

// The rule is the instruction's: a cached layer with the same files doesn't
// excuse it.
func TestSeveralSourcesNeedADirectoryByItsForm(t *testing.T) {
	in := Copy{Verb: "COPY", Dest: "/d", Contents: []Content{{Name: "x"}, {Name: "y"}}}
	err := (&selection{in: in}).load(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "must be a directory") {
		t.Errorf("load: %v", err)
	}
}
