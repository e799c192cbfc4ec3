package doctor

import (
	"slices"
	"strings"
)

// Script is what mends a machine, sorted by who has to do it.
type Script struct {
	Root  []string `json:"root"`  // lines of shell for root
	User  []string `json:"user"`  // lines of shell for the user himself
	Other []string `json:"other"` // what no line of shell mends, such as a pod's manifest
}

// rootCommands and userCommands change something; what else remedies name, looks.
var (
	rootCommands = []string{
		"aa-disable", "apk", "apparmor_parser", "apt-get", "chmod", "chown", "dnf", "echo", "hwclock", "loginctl", "mkdir", "modprobe",
		"mount", "pacman", "printf", "sh", "systemctl", "sysctl", "tee", "timedatectl", "usermod", "zypper",
	}
	userCommands = []string{"builder", "export", "rm"}
)

// installers begin lines to which more packages can be added.
func installers() (prefixes []string) {
	for _, m := range managers {
		prefixes = append(prefixes, asRoot(m.install))
	}
	return prefixes
}

// ScriptOf sorts remedies of errors. Of a remedy that leaves a choice it takes the
// first way, and each line once.
func ScriptOf(remedies ...string) Script {
	s := Script{Root: []string{}, User: []string{}, Other: []string{}}
	seen := map[string]bool{}
	for _, remedy := range remedies {
		remedy = strings.TrimSpace(remedy)
		if remedy == "" || seen[remedy] {
			continue
		}
		seen[remedy] = true
		root, user := shellOf(remedy)
		if len(root)+len(user) == 0 {
			s.Other = append(s.Other, remedy)
		}
		for _, line := range root {
			s.Root = addLine(s.Root, line)
		}
		for _, line := range user {
			s.User = addLine(s.User, line)
		}
	}
	return s
}

// Empty tells that there is nothing to mend.
func (s Script) Empty() bool { return len(s.Root)+len(s.User)+len(s.Other) == 0 }

// addLine adds a command, packages to install to those of a line before.
func addLine(lines []string, line string) []string {
	if slices.Contains(lines, line) {
		return lines
	}
	for _, prefix := range installers() {
		packages, ok := strings.CutPrefix(line, prefix)
		if !ok {
			continue
		}
		packages, _, _ = strings.Cut(packages, " #")
		for i, before := range lines {
			if strings.HasPrefix(before, prefix) {
				if !slices.Contains(strings.Fields(before), strings.TrimSpace(packages)) {
					lines[i] += " " + strings.TrimSpace(packages)
				}
				return lines
			}
		}
		return append(lines, prefix+strings.TrimSpace(packages))
	}
	return append(lines, line)
}

// shellOf gives the commands of a remedy that change something, a here-document
// with its command.
func shellOf(remedy string) (root, user []string) {
	lines := strings.Split(remedy, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, "# or") {
			break
		}
		words := strings.Fields(line)
		if len(words) == 0 || strings.Contains(line, "…") {
			continue
		}
		command := line
		if _, end, is := strings.Cut(line, "<<'"); is {
			end, _, _ = strings.Cut(end, "'")
			for i++; i < len(lines); i++ {
				command += "\n" + lines[i]
				if lines[i] == end {
					break
				}
			}
		}
		switch {
		case words[0] == "sudo" && len(words) > 1 && slices.Contains(rootCommands, words[1]),
			slices.Contains(rootCommands, words[0]) && (caller() == 0 || strings.Contains(line, "sudo ")):
			root = append(root, command)
		case slices.Contains(userCommands, words[0]):
			user = append(user, command)
		}
	}
	return root, user
}
