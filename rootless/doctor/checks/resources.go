package checks

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/builder-oci/builder/rootless/binfmt"
	"github.com/builder-oci/builder/rootless/doctor"
)

// Ceiling is the most memory that builder itself needs, whatever is built.
const Ceiling = 64 << 20

func memoryLeft(context.Context) Result {
	free, why := memoryOf("/proc", "/sys/fs/cgroup")
	found := fmt.Sprintf("%d MiB available %s", free>>20, why)
	if free < Ceiling {
		return lacks("memory", doctor.Memory(free, Ceiling, why))
	}
	return ok("memory", "%s", found)
}

// memoryOf gives what may still be taken, and whose limit that is: the machine's, or
// that of a cgroup which this process is in.
func memoryOf(proc, cgroups string) (free int64, why string) {
	free, why = 1<<62, "on this machine"
	text, _ := os.ReadFile(filepath.Join(proc, "meminfo"))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemAvailable:" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				free = kib << 10
			}
		}
	}
	own, _ := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root, limit, used := cgroups, "memory.max", "memory.current"
		if fields[1] == "memory" {
			root, limit, used = filepath.Join(cgroups, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
		} else if fields[1] != "" {
			continue
		}
		for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
			most, err := number(filepath.Join(root, at, limit))
			taken, err2 := number(filepath.Join(root, at, used))
			if err == nil && err2 == nil && most-taken < free {
				free, why = max(most-taken, 0), fmt.Sprintf("in the cgroup %s, whose limit is %d MiB", at, most>>20)
			}
			if at == "/" {
				break
			}
		}
	}
	return free, why
}

func number(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// Skew is how far the clock may be off.
const Skew = 5 * time.Minute

// clock holds the clock against what can't be newer than now, and the registries'.
func (m Machine) clock(ctx context.Context) Result {
	now := time.Now()
	files := []string{m.Root}
	if exe, err := os.Executable(); err == nil {
		files = append(files, exe)
	}
	for _, file := range files {
		if st, err := os.Stat(file); err == nil && st.ModTime().After(now.Add(Skew)) {
			return lacks("clock", doctor.Clock(now, st.ModTime(), file+" was made"))
		}
	}
	for _, name := range m.Registries {
		then, _ := m.Ping(ctx, name)
		if off := time.Until(then).Abs(); !then.IsZero() && off > Skew {
			return lacks("clock", doctor.Clock(time.Now(), then, "it is by "+name))
		}
	}
	return ok("clock", "%s", now.UTC().Format("2006-01-02 15:04 MST"))
}

func (m Machine) registryTries() (tries []try) {
	for _, name := range m.Registries {
		tries = append(tries, one("registry", func(ctx context.Context) Result {
			r := ok("registry", "%s answers", name)
			if _, err := m.Ping(ctx, name); err != nil {
				r = lacks("registry", err)
			}
			r.What = "registry " + name
			return r
		}))
	}
	return tries
}

// emulators asks the kernel which architectures it runs programs of.
func (p probe) emulators(context.Context) Result {
	var runs []string
	for _, arch := range binfmt.Architectures() {
		if !binfmt.Native(arch) && binfmt.Ask(binfmt.HeaderOf(arch), p.temp) == binfmt.Runs {
			runs = append(runs, arch)
		}
	}
	if len(runs) == 0 {
		return lacks("emulators", doctor.Emulator("", binfmt.Registers()))
	}
	return about("emulators").result(Info, "emulated: "+strings.Join(runs, ", "))
}
