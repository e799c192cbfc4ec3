package userns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// write gives the user namespace of process pid its ids: directly where the
// kernel lets the caller, which is root or maps but his own id, otherwise by
// newuidmap and newgidmap at once.
func (m Mapping) write(ctx context.Context, pid int) error {
	if m.Kind != KindRange || os.Geteuid() == 0 {
		if err := m.writeDirectly(pid); err != nil {
			return refusal{err}
		}
		return nil
	}
	tools, err := doctor.IDMapTools()
	if err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return runTool(ctx, "newuidmap", tools.NewUIDMap, pid, m.UIDs) })
	both.Go(func() error { return runTool(ctx, "newgidmap", tools.NewGIDMap, pid, m.GIDs) })
	return both.Wait()
}

func runTool(ctx context.Context, name, path string, pid int, maps []IDMap) error {
	out, err := exec.CommandContext(ctx, path, toolArgs(pid, maps)...).CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	refused := doctor.Mapping(name, err, string(out))
	if errors.Is(err, unix.EPERM) || bytes.Contains(out, []byte("Operation not permitted")) {
		return unprivileged{refused}
	}
	return refused
}

// toolArgs are newuidmap's and newgidmap's arguments.
func toolArgs(pid int, maps []IDMap) []string {
	args := []string{strconv.Itoa(pid)}
	for _, m := range maps {
		for _, n := range []uint32{m.ContainerID, m.HostID, m.Size} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	return args
}

func (m Mapping) writeDirectly(pid int) error {
	proc := fmt.Sprintf("/proc/%d/", pid)
	if m.Kind == KindSingle {
		// Otherwise the kernel lets no ordinary user map his group: he could
		// drop a group that denies him something.
		if err := writeMap(proc+"setgroups", []byte("deny")); err != nil {
			return err
		}
	}
	if err := writeMap(proc+"uid_map", mapLines(m.UIDs)); err != nil {
		return err
	}
	return writeMap(proc+"gid_map", mapLines(m.GIDs))
}

func mapLines(maps []IDMap) []byte {
	var lines bytes.Buffer
	for _, m := range maps {
		fmt.Fprintf(&lines, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return lines.Bytes()
}

// writeMap writes a file of /proc in one call, as the kernel demands.
func writeMap(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return doctor.Namespace(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(data); err != nil {
		if os.Geteuid() == 0 {
			return fault.Machine("give this container's root the capabilities SETUID, SETGID and SETFCAP, which docker and Kubernetes leave by default",
				"mapping ids as root: %w", err)
		}
		return doctor.Namespace(err)
	}
	return nil
}
