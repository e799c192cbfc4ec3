package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
)

// useTick is how coarsely the use of a step is noted: so long it costs nothing.
const useTick = time.Hour

const (
	sizesFile = "sizes"
	totalFile = "total"
)

// Used notes that a build has used a step: at most once an hour, by the time of
// its record.
func (c *Cache) Used(key Key) {
	noteUse(c.path(stepsDir, key))
}

// noteUse notes that a build has used a file of the cache.
func noteUse(path string) {
	if st, err := os.Lstat(path); err == nil && time.Since(st.ModTime()) > useTick {
		_ = os.Chtimes(path, time.Time{}, time.Now()) // it only goes the earlier
	}
}

// LastUsed tells when a step was used last, to the hour; the zero time where it
// isn't recorded.
func (c *Cache) LastUsed(key Key) time.Time {
	st, err := os.Lstat(c.path(stepsDir, key))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Size gives the bytes of a step's record and log.
func (c *Cache) Size(step *Step) int64 {
	var bytes int64
	paths := []string{c.path(stepsDir, step.Key)}
	if step.Log != "" {
		paths = append(paths, c.LogPath(step))
	}
	for _, path := range paths {
		if st, err := os.Lstat(path); err == nil {
			bytes += st.Size()
		}
	}
	return bytes
}

// Sizes gives the bytes of trees that were measured before, by names that the
// caller makes. A missing or torn file is an empty memory.
func (c *Cache) Sizes() map[string]int64 {
	sizes := map[string]int64{}
	data, err := os.ReadFile(filepath.Join(c.dir, sizesFile))
	if err != nil || json.Unmarshal(data, &sizes) != nil {
		return map[string]int64{}
	}
	return sizes
}

// PutSizes keeps the bytes of trees. Those that can't be kept, as on a full disk
// that somebody is about to clear, are measured again.
func (c *Cache) PutSizes(sizes map[string]int64) {
	if data, err := json.Marshal(sizes); err == nil {
		_ = atomicfile.WriteUnsynced(filepath.Join(c.dir, sizesFile), data, 0o600)
	}
}

// Total gives what the cache holds at most, in bytes, or ErrNotFound where that
// isn't known.
func (c *Cache) Total() (int64, error) {
	data, err := os.ReadFile(filepath.Join(c.dir, totalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	var sum int64
	for line := range strings.Lines(string(data)) {
		n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, ErrNotFound
		}
		sum += n
	}
	return sum, nil
}

// AddTotal adds bytes to what the cache holds, where that is known. Builds at
// once add each its own.
func (c *Cache) AddTotal(bytes int64) error {
	f, err := os.OpenFile(filepath.Join(c.dir, totalFile), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return ignoreAbsent(err)
	}
	_, err = fmt.Fprintln(f, bytes)
	return errors.Join(err, f.Close())
}

// PutTotal notes what the cache holds.
func (c *Cache) PutTotal(bytes int64) error {
	return atomicfile.WriteUnsynced(filepath.Join(c.dir, totalFile), fmt.Appendln(nil, bytes), 0o600)
}

// ForgetTotal says that what the cache holds has to be measured anew.
func (c *Cache) ForgetTotal() error {
	return ignoreAbsent(os.Remove(filepath.Join(c.dir, totalFile)))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
