package build

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/stage"
)

func TestDigestAhead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"src/a", "src/sub/b", "other"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		in      instructions.Command
		digests int
	}{
		{"COPY", &instructions.CopyCommand{SourcesAndDest: sources("src", "/")}, 2},
		{"several sources", &instructions.CopyCommand{SourcesAndDest: sources("src/*", "oth*", "/")}, 3},
		{"COPY of less than it names", &instructions.CopyCommand{SourcesAndDest: sources("src", "/"), ExcludePatterns: []string{"a"}}, 0},
		{"COPY from elsewhere", &instructions.CopyCommand{SourcesAndDest: sources("src", "/"), From: "x"}, 0},
		{"a variable", &instructions.CopyCommand{SourcesAndDest: sources("$src", "/")}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, counted := countedContext(t, dir)
			b := &build{work: &sync.WaitGroup{}, files: newContextSource(func() (*contextFiles, error) { return files, nil })}
			b.digestAhead(t.Context(), dockerfile.Instruction{Cmd: test.in})
			b.work.Wait()
			if counted.put != test.digests {
				t.Errorf("%d files were digested, not %d", counted.put, test.digests)
			}
		})
	}
}

// Whoever asks for the files meanwhile gets all of them, and what was read by
// then isn't read again.
func TestDigestAheadMakesWay(t *testing.T) {
	dir := t.TempDir()
	const many = 200
	for i := range many {
		if err := os.WriteFile(filepath.Join(dir, string(rune('A'+i/26))+string(rune('a'+i%26))), []byte{byte(i)}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, counted := countedContext(t, dir)
	b := &build{work: &sync.WaitGroup{}, files: newContextSource(func() (*contextFiles, error) { return files, nil })}
	counted.at = 10
	counted.reached = make(chan struct{})
	b.digestAhead(t.Context(), dockerfile.Instruction{Cmd: &instructions.CopyCommand{SourcesAndDest: sources(".", "/")}})
	<-counted.reached

	var entries []*stage.File
	err := files.Walk(t.Context(), "", func(e *stage.File) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil || len(entries) != many+1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	digests, err := files.Digests(context.Background(), entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if e.Size > 0 && digests[i] == "" {
			t.Errorf("%s has no digest", e.Path)
		}
	}
	b.work.Wait()
	if counted.put != many {
		t.Errorf("%d digests were made of %d files", counted.put, many)
	}
}

func sources(words ...string) instructions.SourcesAndDest {
	last := len(words) - 1
	return instructions.SourcesAndDest{SourcePaths: words[:last], DestPath: words[last]}
}

// countedDigests counts what is put into it.
type countedDigests struct {
	mu      sync.Mutex
	known   map[string]digest.Digest
	put     int
	at      int // closes reached
	reached chan struct{}
}

func (c *countedDigests) Get(rel string, _ *unix.Stat_t) (digest.Digest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.known[rel]
	return d, ok
}

func (c *countedDigests) Put(rel string, _ *unix.Stat_t, d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[rel] = d
	if c.put++; c.put == c.at {
		close(c.reached)
	}
}

func countedContext(t *testing.T, dir string) (*contextFiles, *countedDigests) {
	t.Helper()
	counted := &countedDigests{known: map[string]digest.Digest{}}
	d, err := buildcontext.OpenDir(dir, buildcontext.Options{Digests: counted})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return filesOf(d, nil), counted
}
