package doctor

import (
	"os/exec"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// Memory explains that only free bytes are left of what builder needs; why says
// whose limit that is. The result is a *fault.Error.
func Memory(free, needs int64, why string) error {
	f := examine()
	return fault.Machine(f.pickOr(map[string]string{
		"docker": "docker run --memory 1g …",
		"podman": "podman run --memory 1g …",
		"kubernetes": `spec:                              # of the pod
  containers:
  - resources: {limits: {memory: 1Gi}}`,
	}, "ps aux --sort -rss | head    # tells what takes the memory"),
		"only %d MiB are left %s, and builder itself may need %d", free>>20, why, needs>>20)
}

// Clock explains that it isn't now, by the word of something else. The result is a
// *fault.Error.
func Clock(now, then time.Time, by string) error {
	remedy := asRoot("timedatectl set-ntp true")
	if f := examine(); f.wsl > 0 {
		remedy = asRoot("hwclock -s")
	} else if f.container != "" {
		remedy = "set the clock of the machine that runs this container"
	}
	const form = "2006-01-02 15:04 MST"
	return fault.Machine(remedy, "the clock is wrong: it shows %s, and %s at %s", now.UTC().Format(form), by, then.UTC().Format(form))
}

// Emulator tells that programs for other architectures can't be run, and how they
// could. The result is a *fault.Error.
func Emulator() error {
	remedy := "docker run --privileged --rm tonistiigi/binfmt --install all    # where there is docker"
	if _, err := exec.LookPath("apt-get"); err == nil {
		remedy = asRoot("apt-get install -y qemu-user-static")
	}
	return fault.Machine(remedy, "the kernel has no handler for programs of other architectures")
}
