package cache

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// answersDir is where answers are kept, below the store's cache/.
const answersDir = "answers"

// Answer is what a server said of the content at an address, so that it can be
// asked whether that has changed.
type Answer struct {
	// ETag and LastModified are the headers as they came; "" where there were
	// none.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
	// Digest is the content's.
	Digest digest.Digest `json:"digest"`
}

// Answer gives what is remembered of an address.
func (c *Cache) Answer(address string) (Answer, bool) {
	var a Answer
	data, err := os.ReadFile(c.path(answersDir, digest.FromString(address)))
	if err != nil || json.Unmarshal(data, &a) != nil || a.Digest.Validate() != nil {
		return Answer{}, false
	}
	noteUse(c.path(answersDir, digest.FromString(address)))
	return a, true
}

// PutAnswer remembers an answer in place of what was. The address itself isn't
// kept: it may hold a password.
func (c *Cache) PutAnswer(address string, a Answer) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	// A store may be older than the directory.
	if err := os.MkdirAll(filepath.Join(c.dir, answersDir), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteUnsynced(c.path(answersDir, digest.FromString(address)), append(data, '\n'), 0o600)
}
