package userns

import (
	"fmt"
	"os"

	"github.com/builder-oci/builder/internal/fault"
)

// Ranges gives the caller's subordinate ids, as "uids 100000-165535".
func Ranges() (list []string) {
	ids, err := subordinate(currentUser())
	if err != nil {
		return nil
	}
	for _, kind := range []struct {
		name   string
		ranges []idRange
	}{{"uids", ids.uids}, {"gids", ids.gids}} {
		for _, r := range kind.ranges {
			list = append(list, kind.name+" "+r.String())
		}
	}
	return list
}

func (r idRange) String() string { return fmt.Sprintf("%d-%d", r.start, r.end()-1) }

// CheckRanges tells whether the caller has too few subordinate ids, or none, in
// the words in which a mapping has it for its Notice.
func CheckRanges() error {
	me := currentUser()
	ids, err := subordinate(me)
	if err != nil {
		return err
	}
	return checkRanges(me, ids)
}

func checkRanges(me account, ids ranges) error {
	if len(ids.uids) == 0 || len(ids.gids) == 0 {
		return noRanges(me, me.uid == 0)
	}
	if n := min(total(stack(me.uid, ids.uids)), total(stack(os.Getegid(), ids.gids))); n < enoughIDs() {
		return tooFew(me, n)
	}
	return nil
}

// rangesHere gives the command that gives a user, in a user namespace that isn't the
// machine's, the most ids that there are in a row besides his own and root's.
func rangesHere(me account) string {
	uids, err := identity("/proc/self/uid_map")
	gids, err2 := identity("/proc/self/gid_map")
	most, gid := longest(uids, me.uid), longest(gids, os.Getegid())
	if err != nil || err2 != nil || most.count == 0 || gid.count == 0 {
		return "start builder in a user namespace with more ids: in this one there are none but yours"
	}
	name := me.name
	if name == "" {
		name = "USER"
	}
	return fmt.Sprintf("%susermod --add-subuids %s --add-subgids %s %s", sudo(), most, gid, name)
}

// longest gives the longest range of mapped ids without 0 and own.
func longest(maps []IDMap, own int) (most idRange) {
	for _, m := range maps {
		r := idRange{uint64(m.ContainerID), uint64(m.Size)}
		for _, part := range r.without([]idRange{{0, 1}, {uint64(own), 1}}) {
			if part.count > most.count {
				most = part
			}
		}
	}
	return most
}

// CheckOverlap tells whether a range of the caller's has ids that are someone
// else's, or that stand in another of his own.
func CheckOverlap() error {
	me := currentUser()
	for _, path := range []string{subuidFile, subgidFile} {
		entries, err := readEntries(path)
		if err != nil {
			return err
		}
		if err := checkOverlap(path, entries, me); err != nil {
			return err
		}
	}
	return nil
}

func checkOverlap(path string, entries []entry, me account) error {
	for i, mine := range entries {
		if !me.owns(mine.owner) {
			continue
		}
		for j, other := range entries {
			if i == j || other.end() <= mine.start || mine.end() <= other.start {
				continue
			}
			if me.owns(other.owner) {
				if i > j { // told already
					continue
				}
				return fault.Machine("sudoedit "+path+"    # leave one of the two lines out",
					"%s has %d-%d of %s twice: ids that stand twice count once", path, max(mine.start, other.start), min(mine.end(), other.end())-1, me)
			}
			return fault.Machine(moveRange(path, me, mine.idRange), "%s gives ids %s to %s and %s to %s: what they share is both's",
				path, mine.idRange, me, other.idRange, other.owner)
		}
	}
	return nil
}

// moveRange gives the commands by which a user gets other ids for some of his.
func moveRange(path string, me account, old idRange) string {
	flag := "uids"
	if path == subgidFile {
		flag = "gids"
	}
	return fmt.Sprintf("%susermod --del-sub%s %s %s\n%s    # then: builder system reset, for its files are the old ids'",
		sudo(), flag, old, me, addRanges(me.name))
}
