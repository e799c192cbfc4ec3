package doctor

import (
	"os/exec"
	"runtime"
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

// Emulator tells that the kernel can't execute programs for arch, "" for any other
// than this machine's, and how it could; registers says that builder registers
// emulators by itself, so that they only have to be there. The result is a
// *fault.Error.
func Emulator(arch string, registers bool) error {
	install := Install("qemu-user-static")
	if _, err := exec.LookPath("apt-get"); err == nil && !registers {
		install += " binfmt-support    # newer than Debian 12: qemu-user-binfmt"
	}
	which, all := "programs for "+arch, arch
	if arch == "" {
		which, all = "other programs", "all"
	}
	return fault.Machine("let qemu run them: "+install+
		"\nor, with docker:   docker run --privileged --rm tonistiigi/binfmt --install "+all,
		"this machine is %s, and its kernel has no handler for %s", runtime.GOARCH, which)
}
