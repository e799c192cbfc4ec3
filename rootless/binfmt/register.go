package binfmt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountPoint is where the kernel has a directory for it.
const mountPoint = "/proc/sys/fs/binfmt_misc"

// configDirs are where packages describe their emulators for systemd-binfmt; a
// file hides those of its name in later ones.
var configDirs = []string{"/etc/binfmt.d", "/run/binfmt.d", "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d"}

// errOutside is what register says to a process that isn't in a user namespace
// of its own.
var errOutside = errors.New("the machine's own binfmt_misc is left alone")

// register gives the user namespace a binfmt_misc of its own with all emulators
// that are installed. The machine's handlers then don't count in it any more.
func register() error {
	if !possible() {
		return errOutside
	}
	rules := readRules(configDirs)
	if len(rules) == 0 {
		return fs.ErrNotExist
	}
	if err := unix.Mount("binfmt_misc", mountPoint, "binfmt_misc", 0, ""); err != nil {
		answers.refused = true
		return os.NewSyscallError("mount", err)
	}
	for _, rule := range rules {
		// One whose emulator isn't there is refused.
		_ = os.WriteFile(filepath.Join(mountPoint, "register"), []byte(rule), 0)
	}
	return nil
}

// Registers tells whether Ask registers emulators, so that they only have to be
// installed, as far as is known by now.
func Registers() bool {
	answers.Lock()
	defer answers.Unlock()
	return possible() && !answers.refused
}

// possible tells whether this process may have a binfmt_misc of its own: if it
// is root of a user namespace that isn't the machine's, and the kernel is Linux
// 6.7 or newer.
func possible() bool {
	all, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(all)), " ") == "0 0 4294967295" || os.Geteuid() != 0 {
		return false
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 6, 7)
}

// atLeast compares the release of a kernel, such as 6.12.5-amd64.
func atLeast(release string, major, minor int) bool {
	var parts [2]int
	for i, part := range strings.SplitN(release, ".", 3) {
		if i == len(parts) {
			break
		}
		for _, c := range part {
			if c < '0' || c > '9' {
				break
			}
			parts[i] = parts[i]*10 + int(c-'0')
		}
	}
	return parts[0] > major || parts[0] == major && parts[1] >= minor
}

// readRules gives the rules for programs, each for one write to "register".
func readRules(dirs []string) []string {
	var rules []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		names, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
		for _, name := range names {
			if seen[filepath.Base(name)] {
				continue
			}
			seen[filepath.Base(name)] = true
			text, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(text)) {
				if rule := emulator(strings.TrimSpace(line)); rule != "" {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules
}

// The fields of a rule, which its first character separates.
const (
	ruleType = iota + 2
	ruleOffset
	ruleMagic
	ruleMask
	ruleInterpreter
	ruleFlags
	ruleFields
)

// emulator gives a rule for ELF programs with the flag F, by which the kernel
// opens the emulator when the rule is made, so that it needn't be seen in a
// container; "" for any other line.
func emulator(line string) string {
	if line == "" || strings.ContainsRune("#;", rune(line[0])) {
		return ""
	}
	fields := strings.Split(line, line[:1])
	if len(fields) != ruleFields || fields[ruleType] != "M" || fields[ruleOffset] != "" && fields[ruleOffset] != "0" {
		return ""
	}
	magic := fields[ruleMagic]
	isELF := slices.ContainsFunc([]string{`\x7fELF`, `\x7f\x45\x4c\x46`}, func(elf string) bool {
		return len(magic) >= len(elf) && strings.EqualFold(magic[:len(elf)], elf)
	})
	if !isELF {
		return ""
	}
	if !strings.Contains(fields[ruleFlags], "F") {
		fields[ruleFlags] += "F"
	}
	return strings.Join(fields, line[:1])
}
