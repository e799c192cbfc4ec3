package sandbox

import (
	"os"
	"os/exec"
)

// InitPath is where a program sees Spec.Init. What is started by that name is to be
// an init: this program as well, which calls pid1.Run then.
const InitPath = "/sbin/docker-init"

// inits are programs that can be Spec.Init. All are static: they have to run
// whatever the image holds.
var inits = []string{
	"catatonit", "docker-init", "tini-static",
	"/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/libexec/docker/docker-init",
}

// FindInit gives the file of a program for [Spec.Init]: a small one where the
// machine has one, else this one.
func FindInit() (string, error) {
	for _, name := range inits {
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
