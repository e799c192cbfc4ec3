package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/builder-oci/builder/internal/fault"
)

// readEnvironment gives variables from files and then from flags, as NAME=VALUE. A
// NAME alone takes our value. Where there is none, a file's is left out, and a
// flag's stays as it is: it is to be unset.
func readEnvironment(files, given []string) (env []string, err error) {
	add := func(word string, unset bool) error {
		name, _, valued := strings.Cut(word, "=")
		switch {
		case name == "":
			return fault.New("write NAME=VALUE, or NAME alone for the value that it has here", "invalid environment variable: %s", word)
		case !utf8.ValidString(word):
			return notText("the variable " + name)
		}
		value, set := os.LookupEnv(name)
		if !valued && set {
			word += "=" + value
		}
		if valued || set || unset {
			env = append(env, word)
		}
		return nil
	}
	for _, file := range files {
		lines, err := readPairs("env", file)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if err := add(line, false); err != nil {
				return nil, err
			}
		}
	}
	for _, word := range given {
		if err := add(word, true); err != nil {
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
		more, err := readPairs("label", file)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	for _, line := range append(lines, given...) {
		name, value, _ := strings.Cut(line, "=")
		name = strings.TrimLeft(name, " \t")
		switch {
		case name == "":
			return nil, fault.New("write NAME=VALUE", "invalid label '%s': empty name", line)
		case strings.ContainsAny(name, " \t"):
			return nil, fault.New("write NAME=VALUE", "label '%s' contains whitespaces", name)
		case !utf8.ValidString(line):
			return nil, notText("the label " + name)
		}
		labels[name] = value
	}
	return labels, nil
}

// readPairs gives the lines of an env or label file, which is read once: it may be
// a pipe. Empty ones and those that begin with # are left out.
func readPairs(kind, file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pairs []string
	number := 0
	wrong := func(format string, args ...any) error {
		return fault.New("write NAME=VALUE without spaces around the name, or # before a comment",
			"invalid %s file (%s): line %d: %w", kind, file, number, fmt.Errorf(format, args...))
	}
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		name, _, _ := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
			continue
		case !utf8.ValidString(line):
			return nil, wrong("invalid utf8 bytes")
		case name == "":
			return nil, wrong("no variable name on line '%s'", line)
		case strings.ContainsFunc(name, unicode.IsSpace):
			return nil, wrong("variable '%s' contains whitespaces", name)
		}
		pairs = append(pairs, line)
	}
	return pairs, nil
}

// notText tells of bytes that a container's config, which is JSON, can't hold.
func notText(what string) error {
	return fault.New("give the container a file that holds them", "%s has bytes that are not UTF-8", what)
}
