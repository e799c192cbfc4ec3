package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// snapshot is what runs and what is mounted, listens or is connected on the machine,
// as far as tests of builder could have caused it.
type snapshot struct {
	processes  map[process]string // to its command line
	mounts     []string           // lines of /proc/self/mountinfo
	sockets    []string           // Unix sockets in the ground's directory, and builder's own
	interfaces []string           // of the machine's network
	containers []string           // directories of containers in the ground's directory
}

// process is one process for good: pids are used again, start times aren't.
type process struct {
	pid   int
	start string // in ticks since boot
}

// programs are what a build runs under the caller's own id.
var programs = []string{"builder", "fuse-overlayfs", "crun", "runc", "pasta", "pasta.avx2", "passt", "passt.avx2", "slirp4netns", "catatonit", "docker-registry"}

// machine takes a snapshot.
func machine() (*snapshot, error) {
	s := &snapshot{processes: map[process]string{}}
	subordinate, err := subordinateIDs()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids() {
		p, comm, err := identify(pid)
		if err != nil {
			continue // it has ended meanwhile
		}
		uid, err := owner(pid)
		if err != nil {
			continue
		}
		ours := uid == os.Getuid() && slices.Contains(programs, comm)
		if ours || subordinate(uid) {
			s.processes[p] = commandLine(pid)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	s.mounts = strings.Split(string(mounts), "\n")
	if s.sockets, err = unixSockets(ground.dir, os.Getenv("XDG_RUNTIME_DIR")); err != nil {
		return nil, err
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		s.interfaces = append(s.interfaces, link.Name)
	}
	s.containers = containerDirs(ground.dir)
	return s, nil
}

// unixSockets gives the names of bound Unix sockets in a directory: those that the
// kernel has, and the files. A monitor's is bound by another path, but its file is in
// the container's directory.
func unixSockets(dirs ...string) (names []string, err error) {
	data, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		// Num RefCount Protocol Flags Type St Inode Path
		words := strings.Fields(line)
		if len(words) > 7 && slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(words[7], dir+"/") }) {
			names = append(names, words[7])
		}
	}
	for _, dir := range dirs {
		eachFile(dir, func(path string, entry fs.DirEntry) {
			if entry.Type() == fs.ModeSocket {
				names = append(names, path)
			}
		})
	}
	return names, nil
}

// eachFile calls fn for what is below dir, but for what stores keep of images.
func eachFile(dir string, fn func(path string, entry fs.DirEntry)) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // another one's, or it has gone meanwhile
		}
		if name := entry.Name(); entry.IsDir() && (name == "images" || name == "snapshots" || name == "volumes") {
			return fs.SkipDir
		}
		fn(path, entry)
		return nil
	})
}

// containerDirs gives the directories that containers have in the stores below dir.
func containerDirs(dir string) (found []string) {
	eachFile(dir, func(path string, entry fs.DirEntry) {
		if entry.IsDir() && filepath.Base(filepath.Dir(path)) == "containers" {
			found = append(found, path)
		}
	})
	return found
}

// halfContainers gives those of a store that are to be no more: that weren't finished,
// or that were to leave nothing, and have no monitor.
func halfContainers(root string) (found []string) {
	for _, dir := range containerDirs(root) {
		var config struct{ Remove bool }
		data, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err == nil && json.Unmarshal(data, &config) == nil && !config.Remove {
			continue
		}
		if pid, err := lockHolder(filepath.Join(dir, "lock")); err == nil && pid == 0 {
			found = append(found, dir)
		}
	}
	return found
}

// leftSince says what is there now that wasn't before.
func (s *snapshot) leftSince(before *snapshot) error {
	var errs []error
	for p, line := range s.processes {
		if _, known := before.processes[p]; !known {
			errs = append(errs, fmt.Errorf("left running: %d %s", p.pid, line))
		}
	}
	for _, kind := range []struct {
		what        string
		now, before []string
	}{
		{"mounted", s.mounts, before.mounts},
		{"bound: the socket", s.sockets, before.sockets},
		{"in the machine's network: the interface", s.interfaces, before.interfaces},
		{"in a store: the container", s.containers, before.containers},
	} {
		for _, name := range kind.now {
			if !slices.Contains(kind.before, name) {
				errs = append(errs, fmt.Errorf("left %s %s", kind.what, name))
			}
		}
	}
	return errors.Join(errs...)
}

// processesOf gives the live processes that have to do with a directory: by
// their environment, their arguments, or their mounts. A process that a RUN
// started knows the directory only by the last.
func processesOf(dir string) map[process]string {
	found := map[process]string{}
	for _, pid := range pids() {
		if pid == os.Getpid() {
			continue
		}
		p, _, err := identify(pid)
		if err != nil {
			continue
		}
		for _, file := range []string{"environ", "cmdline", "mountinfo"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err == nil && bytes.Contains(data, []byte(dir)) {
				found[p] = commandLine(pid)
				break
			}
		}
	}
	return found
}

func pids() []int {
	entries, _ := os.ReadDir("/proc")
	var list []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// identify gives a live process's identity and name. A zombie isn't live.
func identify(pid int) (process, string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, "", err
	}
	// The name is in parentheses and may hold anything.
	line := string(data)
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return process{}, "", fmt.Errorf("/proc/%d/stat: %q", pid, line)
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, "", os.ErrProcessDone
	}
	return process{pid, fields[19]}, line[open+1 : end], nil
}

func owner(pid int) (uid int, err error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

func commandLine(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
}

// subordinateIDs gives a predicate for the caller's ranges of /etc/subuid.
func subordinateIDs() (func(uid int) bool, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	file, err := os.Open("/etc/subuid")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var ranges [][2]int
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if name != me.Username && name != me.Uid {
			continue
		}
		var first, count int
		if _, err := fmt.Sscanf(rest, "%d:%d", &first, &count); err == nil {
			ranges = append(ranges, [2]int{first, first + count})
		}
	}
	return func(uid int) bool {
		return slices.ContainsFunc(ranges, func(r [2]int) bool { return r[0] <= uid && uid < r[1] })
	}, nil
}

// liveSessions lists what a store's commands have left in sessions/.
func liveSessions(root string) ([]string, error) {
	entries, err := filepath.Glob(filepath.Join(root, "sessions", "*"))
	for i := range entries {
		entries[i] = filepath.Base(entries[i])
	}
	return entries, err
}
