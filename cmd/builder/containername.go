package main

import (
	"regexp"

	"github.com/builder-oci/builder/internal/fault"
)

// containerName is docker's rule.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// checkContainerName refuses what can't be the name of a container; "" is none.
func checkContainerName(name string) error {
	if name == "" || containerName.MatchString(name) {
		return nil
	}
	return fault.New("choose another name", "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
}
