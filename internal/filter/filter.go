// Package filter reads what --filter says, as docker's commands do, and tells
// what has the labels and the age that are asked for.
//
//	set, err := filter.Parse(c.StringSlice("filter"))
//	…
//	err = set.Check("label", "label!", "until")
//	…
//	if set.HasLabels(config.Labels) { … }
//
// Values of different keys are all to hold; how several values of one key go
// together is the key's own affair.
package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// A Set is the values of each key. The zero one lets everything through.
type Set struct {
	values map[string][]string
}

// Parse reads values of --filter, each KEY=VALUE. Keys are in lower case, and
// spaces around both don't count, as in docker. "" says nothing.
func Parse(texts []string) (Set, error) {
	var s Set
	for _, text := range texts {
		if text == "" {
			continue
		}
		key, value, found := strings.Cut(text, "=")
		if !found {
			return Set{}, fault.New("write KEY=VALUE, such as label=stage=test",
				"invalid filter %q: bad format of filter (expected name=value)", text)
		}
		// "label!=x" is the key "label!", as docker cuts it.
		s.Add(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value))
	}
	return s, nil
}

// Add adds a value of key, once.
func (s *Set) Add(key, value string) {
	if slices.Contains(s.values[key], value) {
		return
	}
	if s.values == nil {
		s.values = map[string][]string{}
	}
	s.values[key] = append(s.values[key], value)
}

// Has tells whether there is a value of one of keys.
func (s Set) Has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return len(s.values[key]) > 0 })
}

// Values gives the values of key, in the order in which they came.
func (s Set) Values(key string) []string { return s.values[key] }

// Empty tells whether nothing is asked for.
func (s Set) Empty() bool { return len(s.values) == 0 }

// Check is an error where there is another key than the known ones.
func (s Set) Check(known ...string) error {
	var unknown []string
	for key := range s.values {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return &fault.Error{
		Err:    fmt.Errorf("invalid filter '%s'", slices.Min(unknown)),
		Remedy: "filters here: " + strings.Join(known, ", "),
		Code:   1,
	}
}

// Bool gives the truth that key asks for, or unset where it isn't there. Values
// are true, 1, false and 0; two that differ are an error.
func (s Set) Bool(key string, unset bool) (bool, error) {
	if !s.Has(key) {
		return unset, nil
	}
	yes, no := false, false
	for _, value := range s.values[key] {
		yes = yes || value == "true" || value == "1"
		no = no || value == "false" || value == "0"
	}
	if yes == no {
		return unset, invalid(key, s.values[key], "write "+key+"=true or "+key+"=false")
	}
	return yes, nil
}

// invalid says, as docker does, that the values of key can't be what they are.
func invalid(key string, values []string, remedy string) error {
	return &fault.Error{Err: fmt.Errorf("invalid filter '%s=%s'", key, values), Remedy: remedy, Code: 1}
}

// HasLabels tells whether labels are as each value of "label" says, KEY or
// KEY=VALUE, and as no value of "label!" does.
func (s Set) HasLabels(labels map[string]string) bool {
	for _, want := range s.values["label"] {
		if !hasLabel(labels, want) {
			return false
		}
	}
	for _, unwanted := range s.values["label!"] {
		if hasLabel(labels, unwanted) {
			return false
		}
	}
	return true
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, valued := strings.Cut(want, "=")
	got, has := labels[key]
	return has && (!valued || got == value)
}
