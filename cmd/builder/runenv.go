package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/builder-oci/builder/internal/fault"
)

// readEnvironment gives variables from files and then from flags: NAME=VALUE, or
// NAME alone where it is to be unset, because we haven't it either.
func readEnvironment(files, given []string) ([]string, error) {
	var env []string
	add := func(word, where string) error {
		name, _, valued := strings.Cut(word, "=")
		switch {
		case name == "":
			return fault.New("write NAME=VALUE, or NAME alone for the value that it has here", "%sinvalid environment variable: %s", where, word)
		case !valued:
			if value, set := os.LookupEnv(word); set {
				word += "=" + value
			}
		}
		env = append(env, word)
		return nil
	}
	for _, file := range files {
		lines, err := readPairs(file)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if err := add(line, file+": "); err != nil {
				return nil, err
			}
		}
	}
	for _, word := range given {
		if err := add(word, ""); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// mergeEnv gives the variables of all lists; of several values the last counts,
// and a NAME alone takes the variable away.
func mergeEnv(lists ...[]string) []string {
	var env []string
	place := map[string]int{}
	for _, variable := range slices.Concat(lists...) {
		name, _, valued := strings.Cut(variable, "=")
		i, set := place[name]
		switch {
		case set:
			env[i] = variable
		case valued:
			place[name] = len(env)
			env = append(env, variable)
		}
	}
	return slices.DeleteFunc(env, func(v string) bool { return !strings.Contains(v, "=") })
}

// readLabels gives labels from files and then from flags; one without a value has
// an empty one.
func readLabels(files, given []string) (map[string]string, error) {
	labels := map[string]string{}
	var lines []string
	for _, file := range files {
		more, err := readPairs(file)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	for _, line := range append(lines, given...) {
		name, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(name) == "" {
			return nil, fault.New("write NAME=VALUE", "invalid label '%s': empty name", line)
		}
		labels[name] = value
	}
	return labels, nil
}

// readPairs gives the lines of a file, which is read once: it may be a pipe. Empty
// ones and those that begin with # are left out.
func readPairs(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pairs []string
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, _, _ := strings.Cut(line, "="); strings.ContainsFunc(name, unicode.IsSpace) {
			return nil, fault.At(fmt.Sprintf("%s:%d", file, number), fmt.Errorf("variable '%s' contains whitespaces", name))
		}
		pairs = append(pairs, line)
	}
	return pairs, nil
}
