package stage

import (
	"strconv"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/cache"
)

// securityInputs lists what of a command's confinement isn't docker's. It
// decides what the command may do, and so what it makes: a result of a command
// that was forbidden something isn't that of one that wasn't.
//
// Limits of memory, processors and the like are no inputs: they decide whether a
// command ends well, not what it makes when it does.
func (in Run) securityInputs(s sandbox.Security) (inputs []cache.Input) {
	add := func(name, value string) { inputs = append(inputs, cache.Input{Name: name, Value: value}) }
	if in.Insecure {
		add("security", "insecure")
	}
	switch {
	case s.Seccomp != "":
		add("seccomp", digest.FromString(s.Seccomp).String())
	case s.NoSeccomp:
		add("seccomp", "unconfined")
	}
	if s.AppArmor != "" {
		add("apparmor", s.AppArmor)
	}
	if s.NoNewPrivileges {
		add("no-new-privileges", strconv.FormatBool(s.NoNewPrivileges))
	}
	for _, p := range s.Mask {
		add("mask", p)
	}
	for _, p := range s.Unmask {
		add("unmask", p)
	}
	return inputs
}
