package sandbox

import (
	"os"
	"os/exec"
)

// InitPath is where a program sees Spec.Init. What is started by that name is to be
// an init: this program as well, which calls pid1.Run then.
const InitPath = "/sbin/docker-init"

// FindInit gives the file of an init for Spec.Init: a small one where the machine
// has one that needs no library, else this program.
func FindInit() (string, error) {
	for _, name := range []string{"docker-init", "tini-static", "catatonit"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return os.Executable()
}

// command is what the runtime executes.
func (s Spec) command() []string {
	if s.Init == "" {
		return s.Args
	}
	return append([]string{InitPath, "--"}, s.Args...)
}
