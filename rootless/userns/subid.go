package userns

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// The files of subuid(5) and subgid(5).
const (
	subuidFile   = "/etc/subuid"
	subgidFile   = "/etc/subgid"
	nsswitchFile = "/etc/nsswitch.conf"
)

// maxID is one more than the highest id: 2^32-1 stands for "no id".
const maxID = 1<<32 - 1

// idRange is count ids from start on.
type idRange struct{ start, count uint64 }

func (r idRange) end() uint64 { return r.start + r.count }

// without gives the parts of r that overlap none of taken: the kernel refuses
// a map that names an id twice, as one does whose user is listed both by name
// and by number.
func (r idRange) without(taken []idRange) []idRange {
	parts := []idRange{r}
	for _, t := range taken {
		var rest []idRange
		for _, p := range parts {
			if t.end() <= p.start || p.end() <= t.start {
				rest = append(rest, p)
				continue
			}
			if p.start < t.start {
				rest = append(rest, idRange{p.start, t.start - p.start})
			}
			if t.end() < p.end() {
				rest = append(rest, idRange{t.end(), p.end() - t.end()})
			}
		}
		parts = rest
	}
	return parts
}

// account is the caller as subuid(5) lists him: by name or by number, in both
// files.
type account struct {
	name string // "" where the user database doesn't know the uid
	uid  int
}

func (a account) String() string {
	if a.name == "" {
		return "uid " + strconv.Itoa(a.uid)
	}
	return a.name
}

func (a account) owns(owner string) bool {
	return owner == strconv.Itoa(a.uid) || (a.name != "" && owner == a.name)
}

// currentUser names the caller as newuidmap will: by his uid, not by the
// environment. /etc/passwd is read directly; id is asked only about users of
// directories such as LDAP.
func currentUser() account {
	me := account{uid: os.Geteuid()}
	if u, err := user.LookupId(strconv.Itoa(me.uid)); err == nil {
		me.name = u.Username
	} else if out, err := exec.Command("id", "-un").Output(); err == nil {
		me.name = strings.TrimSpace(string(out))
	}
	return me
}

// ranges are what a user may map besides his own ids.
type ranges struct{ uids, gids []idRange }

// subordinate gives the caller's ranges, all of them in the order in which
// they are listed, as far as they exist in the namespace that this process is in.
func subordinate(me account) (ranges, error) {
	listed, err := listedRanges(me)
	if err != nil || doctor.InitialNamespace() {
		return listed, err
	}
	uids, err := identity("/proc/self/uid_map")
	if err != nil {
		return ranges{}, err
	}
	gids, err := identity("/proc/self/gid_map")
	return ranges{within(listed.uids, uids), within(listed.gids, gids)}, err
}

// within gives the parts of the ranges that are mapped. Each lies within one
// range of the map, as the kernel wants it.
func within(listed []idRange, maps []IDMap) []idRange {
	var parts []idRange
	for _, r := range listed {
		for _, m := range maps {
			start := max(r.start, uint64(m.ContainerID))
			end := min(r.end(), uint64(m.ContainerID)+uint64(m.Size))
			if start < end {
				parts = append(parts, idRange{start, end - start})
			}
		}
	}
	return parts
}

// listedRanges reads the files, or asks the source that nsswitch.conf names.
func listedRanges(me account) (ranges, error) {
	if source := subidSource(nsswitchFile); source != "" && source != "files" {
		return askGetsubids(me, source)
	}
	uids, err := readRanges(subuidFile, me.owns)
	if err != nil {
		return ranges{}, err
	}
	gids, err := readRanges(subgidFile, me.owns)
	return ranges{uids, gids}, err
}

// readRanges reads the ranges of those owners that are wanted.
func readRanges(path string, wanted func(owner string) bool) (found []idRange, err error) {
	entries, err := readEntries(path)
	for _, e := range entries {
		if wanted(e.owner) {
			found = append(found, e.idRange)
		}
	}
	return found, err
}

// entry is a line of subuid(5).
type entry struct {
	owner string
	idRange
}

// readEntries reads all lines. As with newuidmap, those that make no sense are
// passed over, and a missing file is an empty one.
func readEntries(path string) ([]entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Machine("sudo chmod 0644 "+path, "reading subordinate ids: %w", err)
	}
	defer func() { _ = f.Close() }()
	var found []entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 {
			continue
		}
		if r, ok := parseRange(fields[1], fields[2]); ok {
			found = append(found, entry{fields[0], r})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.New("", "reading %s: %w", path, err)
	}
	return found, nil
}

func parseRange(start, count string) (idRange, bool) {
	s, err1 := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	r := idRange{s, n}
	return r, err1 == nil && err2 == nil && n > 0 && r.end() <= maxID
}

// subidSource gives the source of subordinate ids that nsswitch.conf names, ""
// for none.
func subidSource(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		database, sources, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(database) == "subid" {
			if names := strings.Fields(sources); len(names) > 0 {
				return names[0]
			}
		}
	}
	return ""
}

// askGetsubids has the ranges told by shadow's own program, which alone can
// load the plugin of another source.
func askGetsubids(me account, source string) (ranges, error) {
	var r ranges
	for flag, list := range map[string]*[]idRange{"": &r.uids, "-g": &r.gids} {
		args := []string{me.name}
		if me.name == "" {
			args[0] = strconv.Itoa(me.uid)
		}
		if flag != "" {
			args = append([]string{flag}, args...)
		}
		out, err := exec.Command("getsubids", args...).Output()
		if errors.Is(err, exec.ErrNotFound) {
			return ranges{}, fault.Machine(doctor.Install("getsubids"),
				"%s takes subordinate ids from %q, which needs getsubids to read, and that is not installed", nsswitchFile, source)
		}
		if err != nil {
			continue // it fails for a user without ranges
		}
		*list = parseGetsubids(string(out))
	}
	return r, nil
}

// parseGetsubids reads lines like "0: user 100000 65536".
func parseGetsubids(out string) []idRange {
	var found []idRange
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			continue
		}
		if r, ok := parseRange(fields[2], fields[3]); ok {
			found = append(found, r)
		}
	}
	return found
}

// addRanges gives the command that gives a user subordinate ids which no other
// user has. In a user namespace that isn't the machine's they have to exist.
func addRanges(name string) string {
	if !doctor.InitialNamespace() {
		return rangesHere(currentUser())
	}
	start := uint64(100000)
	for _, path := range []string{subuidFile, subgidFile} {
		all, err := readRanges(path, func(string) bool { return true })
		if err != nil {
			continue // the command is still right on a machine with one user
		}
		for _, r := range all {
			start = max(start, r.end())
		}
	}
	if name == "" {
		name = "USER"
	}
	last := start + subordinateIDs - 1
	return fmt.Sprintf("%susermod --add-subuids %d-%d --add-subgids %d-%d %s", sudo(), start, last, start, last, name)
}

// sudo begins a command that is root's.
func sudo() string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "sudo "
}
