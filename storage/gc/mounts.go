package gc

import (
	"fmt"
	"maps"
	"time"

	"github.com/builder-oci/builder/storage/cache"
)

// addMounts adds the directories of cache mounts. One is measured only where a
// command has taken it since it was measured last.
func (u *usage) addMounts() error {
	mounts, err := u.c.Cache.Mounts()
	if err != nil {
		return ignoreAbsent(err)
	}
	known := u.c.Cache.Sizes()
	for _, m := range mounts {
		bytes, err := u.measureMount(m, known)
		if err != nil {
			return err
		}
		u.entries = append(u.entries, &Entry{Mount: &m, InUse: u.c.Cache.MountInUse(m), Used: m.Used, Bytes: bytes})
	}
	return nil
}

// measureMount measures a cache mount. It is remembered until when that holds:
// the next use, where nobody can have changed it meanwhile.
func (u *usage) measureMount(m cache.MountInfo, known map[string]int64) (int64, error) {
	name := "mounts/" + m.Name
	at := name + "/used"
	free := !u.c.Cache.MountInUse(m)
	bytes, ok := known[name]
	if !ok || !free || known[at] != m.Used.UnixNano() {
		var err error
		if bytes, err = diskUsage(u.c.Cache.MountPath(m)); err != nil {
			return 0, err
		}
		free = free && u.c.Cache.MountUsed(m).Equal(m.Used)
	}
	u.sizes[name] = bytes
	if free {
		u.sizes[at] = m.Used.UnixNano()
	} else {
		delete(u.sizes, at)
	}
	return bytes, nil
}

// growth gives by how much the cache mounts have grown since they were measured
// last. One that nobody has used since costs a few calls of the kernel.
func (c *Collector) growth() (int64, error) {
	mounts, err := c.Cache.Mounts()
	if err != nil || len(mounts) == 0 {
		return 0, ignoreAbsent(err)
	}
	u := &usage{c: c, sizes: c.Cache.Sizes()}
	known := maps.Clone(u.sizes)
	var sum int64
	for _, m := range mounts {
		bytes, err := u.measureMount(m, known)
		if err != nil {
			return 0, err
		}
		sum += bytes - known["mounts/"+m.Name]
	}
	if !maps.Equal(known, u.sizes) {
		c.Cache.PutSizes(u.sizes)
	}
	return sum, nil
}

// Type is the kind of the entry in the words of docker buildx.
func (e *Entry) Type() string {
	if e.Mount != nil {
		return TypeCacheMount
	}
	return TypeRegular
}

// The types of entries.
const (
	TypeRegular    = "regular"
	TypeCacheMount = "exec.cachemount"
)

// ID is what users call the entry by: the first digits of its key. Of several
// private directories of one cache mount the later ones have a number behind it.
func (e *Entry) ID() string {
	const digits = 12
	if e.Mount == nil {
		return e.Key.Encoded()[:digits]
	}
	hex, n := e.Mount.Place()
	if n == 0 {
		return hex[:digits]
	}
	return fmt.Sprintf("%s.%d", hex[:digits], n)
}

// olderThan says whether the entry wasn't used since.
func (e *Entry) olderThan(t time.Time) bool { return t.IsZero() || e.Used.Before(t) }
