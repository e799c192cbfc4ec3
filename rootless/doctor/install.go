package doctor

import "os/exec"

// managers are the package managers that Install knows, with the packages
// that are named differently from the program.
var managers = []struct {
	program, install string
	packages         map[string]string
}{
	{"apt-get", "apt-get install -y ", map[string]string{"newuidmap": "uidmap", "newgidmap": "uidmap", "getsubids": "uidmap", "pasta": "passt", "nsenter": "util-linux", "aa-disable": "apparmor-utils"}},
	{"dnf", "dnf install -y ", map[string]string{"newuidmap": "shadow-utils", "newgidmap": "shadow-utils", "getsubids": "shadow-utils-subid", "pasta": "passt", "nsenter": "util-linux", "aa-disable": "apparmor-utils"}},
	{"zypper", "zypper install -y ", map[string]string{"qemu-user-static": "qemu-linux-user", "ca-certificates": "ca-certificates-mozilla", "newuidmap": "shadow", "newgidmap": "shadow", "getsubids": "shadow", "pasta": "passt", "nsenter": "util-linux", "aa-disable": "apparmor-utils"}},
	{"pacman", "pacman -S --noconfirm ", map[string]string{"newuidmap": "shadow", "newgidmap": "shadow", "getsubids": "shadow", "pasta": "passt", "nsenter": "util-linux", "aa-disable": "apparmor"}},
	{"apk", "apk add ", map[string]string{"newuidmap": "shadow-subids", "newgidmap": "shadow-subids", "getsubids": "shadow-subids", "pasta": "passt", "nsenter": "util-linux", "aa-disable": "apparmor-utils"}},
}

// Install gives the command that installs program with this machine's package
// manager.
func Install(program string) string {
	for _, m := range managers {
		if _, err := exec.LookPath(m.program); err != nil {
			continue
		}
		name := m.packages[program]
		if name == "" {
			name = program
		}
		return asRoot(m.install + name)
	}
	return "install " + program
}
