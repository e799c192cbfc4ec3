package userns

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// IDMap says that Size ids from ContainerID on, as they are called inside, are
// the ids from HostID on outside.
type IDMap struct {
	ContainerID uint32 `json:"container_id"`
	HostID      uint32 `json:"host_id"`
	Size        uint32 `json:"size"`
}

// Kind is where a mapping's ids come from.
type Kind string

// The kinds, best first.
const (
	// KindSelf maps every id that the caller's own namespace has onto itself.
	KindSelf Kind = "self"
	// KindRange maps root to the caller, and 1… to his subordinate ids.
	KindRange Kind = "range"
	// KindSingle maps root to the caller, and nothing else.
	KindSingle Kind = "single"
	// KindHost is root without a user namespace of his own: ids are what they are.
	KindHost Kind = "host"
	// KindOwn is an ordinary user without a user namespace.
	KindOwn Kind = "own"
)

// Mapping is the ids of a user namespace.
type Mapping struct {
	UIDs []IDMap `json:"uids"`
	GIDs []IDMap `json:"gids"`
	Kind Kind    `json:"kind"`
	// UID and GID are the caller's own ids, as they are called inside: 0, unless
	// he keeps them. Whatever the inner process is root of, its own files are
	// the caller's.
	UID uint32 `json:"uid,omitempty"`
	GID uint32 `json:"gid,omitempty"`
	// Notice, where it isn't nil, says why the mapping is less than it could
	// be, and what the user can do about it.
	Notice *fault.Error `json:"-"`
}

// Exact tells whether files can have the owners that images give them.
func (m Mapping) Exact() bool { return m.Kind != KindSingle && m.Kind != KindOwn }

// Faithful tells whether layers have the owners that images and instructions give
// files: on disk, or by records where nothing can be run that would change them.
func (m Mapping) Faithful() bool { return m.Exact() || m.Kind == KindOwn }

// Key is a name of 12 hexadecimal digits for what is written under this
// mapping: files on disk have the outer ids, so they mean something else
// under another one.
func (m Mapping) Key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v %v", m.Kind, m.UIDs, m.GIDs))
	return hex.EncodeToString(sum[:6])
}

// Detect gives the mapping that Enter will use. It reads a few small files and
// changes nothing. The error is a *fault.Error with the remedy; a mapping that
// falls short of what the user was given has a Notice. Whether the kernel grants
// it, nobody knows before.
func Detect() (Mapping, error) { return Options{}.Detect() }

// carried is a Mapping on its way to the inner process.
type carried struct {
	Mapping
	Less string `json:"less,omitempty"` // the notice
	More string `json:"more,omitempty"` // its remedy
}

func (m Mapping) carried() carried {
	c := carried{Mapping: m}
	if m.Notice != nil {
		c.Less, c.More = m.Notice.Error(), m.Notice.Remedy
	}
	return c
}

func (c carried) mapping() Mapping {
	if c.Less != "" {
		c.Notice = fault.Machine(c.More, "%s", c.Less)
	}
	return c.Mapping
}

// Detect is the function of that name for what is entered with these options.
func (opts Options) Detect() (Mapping, error) {
	m, err := detect(opts)
	if err != nil && opts.plainly() {
		return plainMapping(asFault(err)), nil
	}
	return m, err
}

func detect(o Options) (Mapping, error) {
	m, err := choose(o.Single)
	if err != nil {
		return m, forbiddenOr(err)
	}
	if o.KeepID {
		m, err = m.keepID()
	}
	return m, err
}

// forbiddenOr gives, in place of what is amiss with the ids, why there can be no user
// namespace at all: where that is so, ids would be of no use.
func forbiddenOr(err error) error {
	_, refused := syscall.ForkExec("/dev/null/none", []string{"none"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}})
	switch refused {
	case syscall.ENOTDIR, syscall.ENOENT, syscall.EACCES, nil: // it came as far as the program
		return err
	}
	return doctor.Namespace(refused)
}

// subordinateIDs is how many ids besides root images may use: 1 to 65535,
// rounded up to what useradd gives.
const subordinateIDs = 65536

func choose(single bool) (Mapping, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	root := uid == 0
	if root && !doctor.InitialNamespace() {
		return selfMapping()
	}
	if single && !root {
		return singleMapping(uid, gid, nil), nil
	}
	me := currentUser()
	ids, err := subordinate(me)
	if err != nil {
		return Mapping{}, err
	}
	if len(ids.uids) == 0 || len(ids.gids) == 0 {
		lack := noRanges(me, root)
		if root {
			return Mapping{}, lack
		}
		return singleMapping(uid, gid, lack), nil
	}
	if !root { // root writes the mapping himself
		if _, err := doctor.IDMapTools(); err != nil {
			return singleMapping(uid, gid, asFault(err)), nil
		}
	}
	m := Mapping{UIDs: stack(uid, ids.uids), GIDs: stack(gid, ids.gids), Kind: KindRange}
	if len(m.UIDs) == 1 || len(m.GIDs) == 1 {
		return singleMapping(uid, gid, foreignRanges(me)), nil
	}
	if n := min(total(m.UIDs), total(m.GIDs)); n < enoughIDs() {
		m.Notice = tooFew(me, n)
	}
	return m, nil
}

// enoughIDs is how many are all that one can have: a user namespace, such as that of a
// pod with hostUsers: false, may hold no more than images use, its own root included.
func enoughIDs() uint64 {
	here, err := readMap("/proc/self/uid_map")
	if err != nil {
		return subordinateIDs
	}
	return min(subordinateIDs, max(total(here), 1)-1)
}

// tooFew complains of n ids, the caller's own among them.
func tooFew(me account, n uint64) *fault.Error {
	return fault.Machine(addRanges(me.name), "%s has only %d subordinate ids; images may use up to %d", me, n-1, subordinateIDs-1)
}

// noRanges complains of missing subordinate ids. Root could map all of the
// machine's, but then every user of an image would be the machine's of that
// number; an image's root is the caller in any case.
func noRanges(me account, root bool) *fault.Error {
	if listed, err := listedRanges(me); err == nil && len(listed.uids) > 0 && len(listed.gids) > 0 {
		return foreignRanges(me)
	}
	lack := fault.Machine(addRanges(me.name), "%s has no subordinate ids in /etc/subuid and /etc/subgid", me)
	if root {
		lack.Remedy = doctor.OrChroot(lack.Remedy)
		lack.Err = fmt.Errorf("root needs subordinate ids as well, so that an image's other users aren't this machine's: %w", lack.Err)
	}
	return lack
}

// foreignRanges complains of ranges that the namespace doesn't have in which
// builder was started.
func foreignRanges(me account) *fault.Error {
	return fault.Machine(rangesHere(me),
		"the subordinate ids of %s don't exist in the user namespace that builder was started in", me)
}

// maxExtents is how many lines the kernel takes in an id map.
const maxExtents = 340

// stack maps 0 to the caller's own id and the ranges to the ids after it.
func stack(own int, ranges []idRange) []IDMap {
	maps := []IDMap{{ContainerID: 0, HostID: uint32(own), Size: 1}}
	taken := []idRange{{uint64(own), 1}}
	next := uint64(1)
	for _, r := range ranges {
		for _, free := range r.without(taken) {
			if len(maps) == maxExtents || next+free.count > maxID {
				return maps
			}
			maps = append(maps, IDMap{uint32(next), uint32(free.start), uint32(free.count)})
			taken = append(taken, free)
			next += free.count
		}
	}
	return maps
}

// keepID gives the mapping in which the caller has his own ids. Subordinate ones
// make up for them as root's and those around.
func (m Mapping) keepID() (Mapping, error) {
	switch m.Kind {
	case KindSelf:
		return m, nil
	case KindSingle:
		remedy := "leave out keep-id"
		if m.Notice != nil {
			remedy = m.Notice.Remedy
		}
		return m, fault.New(remedy, "your own ids can't be kept inside without subordinate ids: root's would have none")
	}
	m.UID, m.GID = m.UIDs[0].HostID, m.GIDs[0].HostID
	m.UIDs, m.GIDs = keep(m.UIDs), keep(m.GIDs)
	return m, nil
}

// keep turns a mapping of stack's into one in which the caller's id, the first,
// is called inside what it is outside; those that came after it move down.
func keep(stacked []IDMap) []IDMap {
	own := stacked[0].HostID
	var below, above []IDMap
	for _, m := range stacked[1:] {
		first := m.ContainerID - 1
		n := min(max(own, first)-first, m.Size)
		if n > 0 {
			below = append(below, IDMap{first, m.HostID, n})
		}
		if n < m.Size {
			above = append(above, IDMap{first + n + 1, m.HostID + n, m.Size - n})
		}
	}
	maps := append(append(below, IDMap{own, own, 1}), above...)
	return maps[:min(len(maps), maxExtents)]
}

func total(maps []IDMap) (n uint64) {
	for _, m := range maps {
		n += uint64(m.Size)
	}
	return n
}

func singleMapping(uid, gid int, notice *fault.Error) Mapping {
	return Mapping{
		UIDs:   []IDMap{{0, uint32(uid), 1}},
		GIDs:   []IDMap{{0, uint32(gid), 1}},
		Kind:   KindSingle,
		Notice: notice,
	}
}

// selfMapping maps all ids of the namespace that the caller is root of. Where
// it has but one, nothing is gained over a single id, and owners are as
// inexact.
func selfMapping() (Mapping, error) {
	uids, err := identity("/proc/self/uid_map")
	if err != nil {
		return Mapping{}, err
	}
	gids, err := identity("/proc/self/gid_map")
	if err != nil {
		return Mapping{}, err
	}
	if total(uids) == 1 || total(gids) == 1 {
		return singleMapping(0, 0, nil), nil
	}
	return Mapping{UIDs: uids, GIDs: gids, Kind: KindSelf}, nil
}

// identity reads an id map of /proc and gives the ids inside, each mapped onto
// itself. Neighbouring ranges stay apart: the kernel wants each range of a map
// to lie within one of the enclosing namespace's.
func identity(path string) ([]IDMap, error) {
	maps, err := readMap(path)
	if err != nil {
		return nil, fault.New("mount /proc", "reading this namespace's ids: %w", err)
	}
	for i, m := range maps {
		maps[i].HostID = m.ContainerID
	}
	if len(maps) == 0 {
		return nil, fault.New("", "no ids are mapped in this user namespace (%s is empty)", path)
	}
	return maps, nil
}

// readMap reads an id map of /proc.
func readMap(path string) (maps []IDMap, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var m IDMap
		if _, err := fmt.Sscan(lines.Text(), &m.ContainerID, &m.HostID, &m.Size); err == nil {
			maps = append(maps, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return maps, nil
}

// asFault gives err as the *fault.Error that doctor makes all of its errors.
func asFault(err error) *fault.Error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f
	}
	return fault.New("", "%w", err)
}
