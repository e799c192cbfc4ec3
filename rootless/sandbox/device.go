package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// Device is a device of the host, or a directory of them, that a program gets. It
// may do with it what the user may who runs builder: no capability of a user
// namespace counts for devices.
type Device struct {
	Source string `json:"source"`
	Path   string `json:"path"` // absolute, in the sandbox
}

// ParseDevice reads docker's HOST[:PATH][:PERMISSIONS]. What a program may do with
// the device can't be narrowed without root, so that only all of it can be asked
// for; making nodes is denied to everybody.
func ParseDevice(text string) (Device, error) {
	source, rest, _ := strings.Cut(text, ":")
	d := Device{Source: source, Path: source}
	target, access, two := strings.Cut(rest, ":")
	switch {
	case two:
		d.Path = target
	case isAccess(rest):
		access = rest
	case rest != "":
		d.Path = rest
	}
	const form = "write it as HOST[:PATH][:rwm], for example /dev/fuse or /dev/ttyUSB0:/dev/modem:rw"
	if !path.IsAbs(d.Source) || !path.IsAbs(d.Path) || two && !isAccess(access) {
		return d, fault.New(form, "the device %q is no absolute path with permissions of r, w and m", text)
	}
	if access != "" && (!strings.Contains(access, "r") || !strings.Contains(access, "w")) {
		return d, fault.New("write rw or rwm; the device's own mode and owner on this machine hold in any case",
			"the device %q can't be limited to %q: only root can do that", text, access)
	}
	d.Path = path.Clean(d.Path)
	return d, nil
}

// isAccess tells whether text is made of docker's permissions for devices.
func isAccess(text string) bool {
	return text != "" && strings.Trim(text, "rwm") == ""
}

// check tells what is wrong with the device on this machine.
func (d Device) check() error {
	st, err := os.Stat(d.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New("ls -l /dev    # shows which there are", "there is no device %s on this machine", d.Source)
	}
	if err != nil {
		return err
	}
	if !st.IsDir() && st.Mode()&fs.ModeDevice == 0 {
		return fault.New("name a device, or mount a file by --volume", "%s is no device", d.Source)
	}
	return nil
}

// mount is how the device is shown: nodes can't be made in a user namespace.
func (d Device) mount() Mount {
	return Mount{Type: "bind", Source: d.Source, Destination: d.Path, Options: []string{"rbind", "nosuid", "noexec"}}
}
