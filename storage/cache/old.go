package cache

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// Bounds of what is remembered beside steps. Beyond them the least recently used
// go, whatever their age.
const (
	maxSeen       = 100_000
	maxAnswers    = 10_000
	maxStages     = 10_000
	maxFilesBytes = 256 << 20
)

// OldMemory gives the files of seen, files, answers and stages that no build has
// used for longer than age, that are too many, or that tell of a directory which is gone.
// They can go at any time: what is lost is looked at anew, and a step whose seen
// file goes is executed anew.
func (c *Cache) OldMemory(age time.Duration) ([]string, error) {
	seen, err := c.oldest(seenDir, age, maxSeen, -1)
	if err != nil {
		return nil, err
	}
	answers, err := c.oldest(answersDir, age, maxAnswers, -1)
	if err != nil {
		return nil, err
	}
	stages, err := c.oldest(stagesDir, age, maxStages, -1)
	if err != nil {
		return nil, err
	}
	files, err := c.oldest(filesDir, age, -1, maxFilesBytes)
	if err != nil {
		return nil, err
	}
	orphans, err := c.orphans()
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(seen, answers, stages, files, orphans)))), err
}

// oldest gives the files in a directory that weren't used for longer than age, and
// the oldest of those beyond a number or a sum of sizes; -1 sets no bound.
func (c *Cache) oldest(dir string, age time.Duration, most int, bytes int64) ([]string, error) {
	type memory struct {
		path string
		used time.Time
		size int64
	}
	var all []memory
	err := c.each(dir, func(path string, st fs.FileInfo) {
		all = append(all, memory{path, st.ModTime(), st.Size()})
	})
	slices.SortFunc(all, func(a, b memory) int { return b.used.Compare(a.used) })
	var old []string
	var sum int64
	for i, m := range all {
		sum += m.size
		if time.Since(m.used) > age || most >= 0 && i >= most || bytes >= 0 && sum > bytes {
			old = append(old, m.path)
		}
	}
	return old, err
}

// orphans gives the memories of files whose directory is gone, or which no
// builder of this version can read.
func (c *Cache) orphans() ([]string, error) {
	var gone []string
	err := c.each(filesDir, func(path string, _ fs.FileInfo) {
		root, err := rememberedRoot(path)
		if err != nil {
			return // it may be readable the next time
		}
		if _, err := os.Stat(root); root == "" || errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, path)
		}
	})
	return gone, err
}

// each calls fn with the files in a directory of the cache.
func (c *Cache) each(dir string, fn func(path string, st fs.FileInfo)) error {
	names, err := os.ReadDir(filepath.Join(c.dir, dir))
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, name := range names {
		st, err := name.Info()
		if err == nil && !strings.HasPrefix(name.Name(), atomicfile.Prefix) {
			fn(filepath.Join(c.dir, dir, name.Name()), st)
		}
	}
	return nil
}

// rememberedRoot gives the directory of which a memory of files tells, "" where
// the file is none.
func rememberedRoot(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, filesHeader)
	if _, err := io.ReadFull(f, head); err != nil || string(head[:len(filesMagic)]) != filesMagic {
		return "", nil //nolint:nilerr // a file that is cut short, or of another version
	}
	root := make([]byte, binary.LittleEndian.Uint16(head[filesHeader-2:]))
	if _, err := io.ReadFull(f, root); err != nil {
		return "", nil //nolint:nilerr // as above
	}
	return string(root), nil
}
