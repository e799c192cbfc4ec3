package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
)

// noticeOwners tells, in a line each, of what the host's files can't be to a
// container because their owner isn't in it.
func noticeOwners(c *cli.Context, mounts []container.Mount) {
	mapping, err := detect(c)
	if err != nil {
		return // which will be the error of entering the namespace
	}
	for _, m := range mounts {
		if m.Type != container.MountBind {
			continue
		}
		if why := strangersOwn(m, mapping.UIDs); why != "" {
			_, _ = fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", programName, why)
		}
	}
}

// strangersOwn says what is the matter with a directory or file whose owner has no
// id inside, "" where that makes no difference to what is asked for.
func strangersOwn(m container.Mount, ids []userns.IDMap) string {
	info, err := os.Stat(m.Source)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || mapped(st.Uid, ids) {
		return ""
	}
	needs := fs.FileMode(0o004)
	if info.IsDir() {
		needs |= 0o001
	}
	if !m.ReadOnly {
		needs |= 0o002
	}
	if info.Mode()&needs == needs {
		return ""
	}
	return fmt.Sprintf("%s belongs to uid %d, which isn't yours to map: in the container it is nobody's (65534), and even root there can't %s it",
		m.Source, st.Uid, map[bool]string{true: "read", false: "write to"}[info.Mode()&0o004 == 0 || m.ReadOnly])
}

// mapped tells whether an id of the host's has one inside.
func mapped(id uint32, ids []userns.IDMap) bool {
	for _, m := range ids {
		if id >= m.HostID && id-m.HostID < m.Size {
			return true
		}
	}
	return false
}
