package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
)

// cdiName is a device by its name in the Container Device Interface:
// VENDOR/CLASS=NAME.
var cdiName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z][\w-]*=[\w:.-]+$`)

// parseDevice reads docker's HOST[:PATH][:PERMISSIONS].
func parseDevice(text string) (stage.HostDevice, error) {
	var d stage.HostDevice
	wrong := func(remedy, format string, args ...any) error {
		return fault.New(remedy, "--device "+text+": "+format, args...)
	}
	const form = "write --device /dev/NAME[:/PATH/INSIDE][:rwm]"
	if cdiName.MatchString(text) {
		return d, wrong("name the device files: "+form, "a name of the Container Device Interface is not supported, its hooks change what only root may")
	}
	parts := strings.Split(text, ":")
	if last := len(parts) - 1; last > 0 && !path.IsAbs(parts[last]) {
		if err := checkPermissions(parts[last]); err != nil {
			return d, wrong(fault.Remedy(err), "%w", err)
		}
		parts = parts[:last]
	}
	if len(parts) > 2 || !path.IsAbs(parts[0]) || !path.IsAbs(parts[len(parts)-1]) {
		return d, wrong(form, "it isn't a device and a path inside, parted by a colon")
	}
	d.Source, d.Target = filepath.Clean(parts[0]), path.Clean(parts[len(parts)-1])
	return d, checkDevice(d.Source, wrong)
}

// checkPermissions takes those that can be held: a bind mount gives what the
// user has. Nobody makes device nodes in a user namespace, so that m is moot.
func checkPermissions(permissions string) error {
	switch {
	case strings.Trim(permissions, "rwm") != "":
		return fault.New("leave them out, or write rwm", "the permissions %q are none of r, w and m", permissions)
	case !strings.Contains(permissions, "r") || !strings.Contains(permissions, "w"):
		return fault.New("leave them out, or write rw", "the permissions %q can't be held: without root there is no device cgroup, "+
			"and a command may do with the device what the user may", permissions)
	}
	return nil
}

// checkDevice refuses what is no device, and what the user may not open.
func checkDevice(name string, wrong func(remedy, format string, args ...any) error) error {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return wrong("ls /dev    # lists the devices of this machine", "%w", err)
	case st.IsDir() && strings.HasPrefix(name, "/dev/"):
		return nil
	case st.Mode()&os.ModeDevice == 0:
		return wrong("show files by --volume", "it is no device")
	case !sandbox.MayOpen(name):
		return wrong("ls -l "+name+"    # tells who may\nsudo chmod o+rw "+name+"    # permits it to everybody", "you may neither read nor write it; additional groups don't count in a user namespace")
	}
	return nil
}
