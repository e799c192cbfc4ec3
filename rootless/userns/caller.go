package userns

import (
	"os/exec"
	"syscall"
)

// AsCaller makes a program that isn't started yet run, inside, under the ids of
// the user who called, without a capability: what asks the machine's records for
// a home directory (ssh does) would take itself for the machine's root
// otherwise. On disk the ids are the same ones. Outside, and where the caller is
// root, it does nothing.
func AsCaller(cmd *exec.Cmd) {
	m, err := Current()
	if err != nil || m.Kind == KindSelf || m.Plain() || len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: int(hostID(m.UIDs, m.UID)), HostID: int(m.UID), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: int(hostID(m.GIDs, m.GID)), HostID: int(m.GID), Size: 1}}
}

// hostID gives what an id is called outside.
func hostID(maps []IDMap, id uint32) uint32 {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}
