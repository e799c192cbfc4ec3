package mountspec

import (
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/volume"
)

// NoDriver is the error about another driver than ours.
func NoDriver(name string) error {
	return fault.New("leave it out, or write "+volume.Driver,
		"error looking up volume plugin %s: plugin %q not found: builder has the driver %s alone", name, name, volume.Driver)
}

// NoDriverOptions is the error about what docker's local driver takes: a mount that
// it makes, as the machine's root.
func NoDriverOptions(flag string) error {
	return fault.New("mount it yourself, and show the directory: -v /DIR:/PATH; or take memory: --tmpfs /PATH:size=64m",
		"%s can't be had: the options have docker's daemon mount a file system, which only the machine's root may", flag)
}
