package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

// find gives the cgroup of this process, and the directory where the hierarchy
// is mounted.
func find() (own place, root string, err error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return place{}, "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return place{}, "", err
	}
	path, known := ownPath(string(groups))
	root, at, mounted := mountOf(string(mounts))
	if !known || !mounted {
		return place{}, "", fault.Machine(unified, "cgroups of version 2, which limits need, aren't mounted here")
	}
	below, err := filepath.Rel(at, path)
	if err != nil || strings.HasPrefix(below, "..") {
		return place{}, "", fault.Machine(ownScope, "builder's own cgroup %s isn't among those that are mounted here", path)
	}
	return place{dir: filepath.Join(root, below), path: path, root: root}, root, nil
}

// ownPath reads /proc/self/cgroup for the path in the version 2 hierarchy.
func ownPath(text string) (string, bool) {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, true
		}
	}
	return "", false
}

// mountOf reads /proc/self/mountinfo for the first mount of the version 2
// hierarchy: where it is, and which of its cgroups is there.
func mountOf(text string) (mountpoint, at string, found bool) {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); kind == "cgroup2" && len(fields) > 4 {
			return fields[4], fields[3], true
		}
	}
	return "", "", false
}

const (
	// ownScope starts builder in a cgroup that is delegated to the user.
	ownScope = "systemd-run --user --scope -p Delegate=yes builder …    # starts builder in a cgroup of its own"
	lingers  = "sudo loginctl enable-linger $(id -un)    # has a systemd of the user run, which gives builder a cgroup"
	// delegates has systemd delegate every controller to the user.
	delegates = `sudo mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf
sudo systemctl daemon-reload    # then log in again`
	unified = "boot with systemd.unified_cgroup_hierarchy=1 among the kernel's parameters, and all controllers are of version 2"
	byHand  = "start builder, alone, in a cgroup that belongs to the user: man 7 cgroups, \"Delegating a hierarchy\""
)

// errNotDelegated is told of a cgroup that isn't builder's to divide: another one may
// be.
var errNotDelegated = errors.New("isn't delegated to it")

// notDelegated is the error where limits can't be set, though the machine may
// have the controllers.
func (p place) notDelegated(why string) error {
	return fault.Machine(scopeRemedy(), "the limits can't be held: builder's cgroup %s %w: %s", p.path, errNotDelegated, why)
}

// scopeRemedy says how to get a cgroup of one's own on this machine.
func scopeRemedy() string {
	if !hasSystemd() {
		return byHand
	}
	if _, err := os.Stat(userSystemd()); err != nil {
		return lingers
	}
	return ownScope
}

func hasSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// lacks is the error where the cgroup hasn't the controller: whoever delegated it
// kept that back, or the machine has none.
func (p place) lacks(controller string) error {
	if p.root != "" && !slices.Contains((place{dir: p.root}).words("cgroup.controllers"), controller) {
		return fault.Machine("start the kernel with cgroup_enable="+controller+" among its parameters, and without cgroup_disable",
			"the limits can't be held: the controller %q isn't among those of this machine, which are in %s/cgroup.controllers", controller, p.root)
	}
	remedy := byHand
	if hasSystemd() {
		remedy = delegates
	}
	return fault.Machine(remedy, "the limits can't be held: the controller %q isn't delegated to builder's cgroup %s", controller, p.path)
}

// checkOld tells which of the controllers version 2 hasn't on this machine.
func checkOld(controllers []string) error {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for _, name := range controllers {
		if isOld(string(groups), name) {
			return fault.Machine(unified, "the limits can't be held: the controller %q is bound to cgroups of version 1 here, which only root can use", name)
		}
	}
	return nil
}

// isOld tells whether a version 1 hierarchy has the controller.
func isOld(text, controller string) bool {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) == 3 && parts[0] != "0" {
			for name := range strings.SplitSeq(parts[1], ",") {
				if name == controller {
					return true
				}
			}
		}
	}
	return false
}
