package main

import (
	"strings"
)

// splitName parts a familiar name into repository and tag, with docker's word
// for what is missing.
func splitName(name string) (repository, tag string) {
	if name == "" {
		return none, none
	}
	if repository, _, digested := strings.Cut(name, "@"); digested {
		return repository, none
	}
	colon := strings.LastIndexByte(name, ':')
	if colon < strings.LastIndexByte(name, '/') || colon < 0 {
		return name, none
	}
	return name[:colon], name[colon+1:]
}
