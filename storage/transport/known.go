package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// known remembers in which repositories of a registry blobs have been seen, so
// that a push to another repository there can have them mounted instead of
// sending them. It is a file for each registry, of lines
//
//	<the digest's 64 digits> <repository>
//
// that commands append without a lock, each with one write. It is knowledge only:
// the registry is asked before anything relies on it, and losing lines costs
// bytes sent. The zero value remembers nothing.
type known struct{ dir string }

const (
	// largestKnown is the size at which a file loses its older half.
	largestKnown = 1 << 20
	// mostKnown is how many repositories are tried for a blob: each is a question
	// to the registry.
	mostKnown = 3
)

func (k known) file(domain string) string { return filepath.Join(k.dir, domain) }

// repositories gives those that have had a blob, the last one first, by their
// canonical names. The one that is pushed to isn't among them.
func (k known) repositories(domain, target string) map[digest.Digest][]string {
	found := map[digest.Digest][]string{}
	k.each(domain, func(d digest.Digest, repository string) {
		name := domain + "/" + repository
		if name == target {
			return
		}
		found[d] = append(slices.DeleteFunc(found[d], func(other string) bool { return other == name }), name)
	})
	for d, names := range found {
		slices.Reverse(names)
		found[d] = names[:min(len(names), mostKnown)]
	}
	return found
}

// anywhere gives repositories of any registry that have had a blob, by their
// canonical names.
func (k known) anywhere(d digest.Digest) []string {
	files, err := os.ReadDir(k.dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, f := range files {
		found = append(found, k.repositories(f.Name(), "")[d]...)
	}
	return found
}

func (k known) each(domain string, fn func(d digest.Digest, repository string)) {
	if k.dir == "" {
		return
	}
	f, err := os.Open(k.file(domain))
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		hex, repository, ok := strings.Cut(lines.Text(), " ")
		d := digest.NewDigestFromEncoded(digest.SHA256, hex)
		if ok && len(hex) == digest.SHA256.Size()*2 {
			fn(d, repository)
		}
	}
}

// add remembers that a repository, by its canonical name, has blobs.
func (k known) add(domain, repository string, blobs []digest.Digest) error {
	if k.dir == "" {
		return nil
	}
	path := strings.TrimPrefix(repository, domain+"/")
	have := map[digest.Digest]bool{}
	k.each(domain, func(d digest.Digest, r string) { have[d] = have[d] || r == path })
	var text strings.Builder
	for _, d := range blobs {
		if !have[d] {
			have[d] = true
			fmt.Fprintf(&text, "%s %s\n", d.Encoded(), path)
		}
	}
	if text.Len() == 0 {
		return nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(k.file(domain), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	size, sizeErr := f.Seek(0, 1)
	if err = errors.Join(err, sizeErr, f.Close()); err != nil || size < largestKnown {
		return err
	}
	return k.shorten(domain)
}

// shorten forgets the older half of a registry's file.
func (k known) shorten(domain string) error {
	data, err := os.ReadFile(k.file(domain))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	rest := data[len(data)/2:]
	_, newer, _ := strings.Cut(string(rest), "\n")
	return atomicfile.WriteUnsynced(k.file(domain), []byte(newer), 0o600)
}
