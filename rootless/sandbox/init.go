package sandbox

import (
	"os/exec"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// inits are programs that can be Spec.Init. All are static: they have to run
// whatever the image holds.
var inits = []string{
	"catatonit", "docker-init", "tini-static",
	"/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/libexec/docker/docker-init",
}

// FindInit gives the file of a program for [Spec.Init].
func FindInit() (string, error) {
	for _, name := range inits {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fault.New(doctor.Install("catatonit")+"\nor leave out --init", "no init is installed that could start the program (catatonit, docker-init or tini-static)")
}
