package sandbox

import (
	"errors"
	"io/fs"
	"os"

	"github.com/builder-oci/builder/internal/fault"
)

// Device is a device of the host, or a directory of them, that a program gets. It
// may do with it what the user may who runs builder: no capability of a user
// namespace counts for devices.
type Device struct {
	Source string `json:"source"`
	Path   string `json:"path"` // absolute, in the sandbox
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
