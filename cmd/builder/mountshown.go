package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/mountspec"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// shown is the mount in the runtime's words.
func (m *readyMount) shown() sandbox.Mount {
	if m.Type == container.MountTmpfs {
		options := slices.Clone(m.Options)
		for _, flag := range []string{"exec", "suid", "dev"} { // which nothing in memory has unless it is asked for
			if !slices.Contains(options, flag) && !slices.Contains(options, "no"+flag) {
				options = append(options, "no"+flag)
			}
		}
		return sandbox.Mount{Type: "tmpfs", Source: "tmpfs", Destination: m.place, Options: append(options, access(m.ReadOnly))}
	}
	options := slices.Clone(m.Options)
	recursive := !slices.Contains(options, mountspec.NonRecursive)
	if recursive {
		options = append(options, "rbind")
	}
	if !slices.Contains(options, "private") {
		options = append(options, "rprivate")
	}
	if m.ReadOnly && recursive && !m.file && recursiveReadOnly() { // of a file crun takes it amiss
		options = append(options, "rro")
	} else {
		options = append(options, access(m.ReadOnly))
	}
	return sandbox.Mount{
		Type: "bind", Source: m.Source, Destination: m.place, Options: slices.Compact(options), Host: m.Type == container.MountBind,
	}
}

// modeOption begins the option that says what mode something in memory has.
const modeOption = "mode="

// mode is that of something in memory.
func (m *readyMount) mode() os.FileMode {
	for _, o := range m.Options {
		if text, is := strings.CutPrefix(o, modeOption); is {
			bits, _ := strconv.ParseUint(text, 8, 12) // it was looked at when it was read
			mode := os.FileMode(bits & 0o777)
			if bits&unix.S_ISVTX != 0 {
				mode |= os.ModeSticky
			}
			return mode
		}
	}
	return 0o755
}

func access(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}

// recursiveReadOnly tells whether what is mounted below a directory can be made
// read-only with it. The kernel can since 5.12.
func recursiveReadOnly() bool {
	return unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}) != unix.ENOSYS
}
