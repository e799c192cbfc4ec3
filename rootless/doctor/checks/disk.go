package checks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/room"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/userns"
)

// openPatience is how long another command may have the store to itself.
const openPatience = 5 * time.Second

// openPatiently opens the store, or tells that another command keeps it. It doesn't
// wait for a file system that doesn't answer.
func (m Machine) openPatiently(ctx context.Context) (temp string, closed func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	type opened struct {
		temp   string
		closed func() error
		err    error
	}
	done := make(chan opened, 1)
	go func() {
		defer cancel()
		var o opened
		o.temp, o.closed, o.err = m.Open(ctx)
		done <- o
	}()
	select {
	case o := <-done:
		if o.err != nil && ctx.Err() != nil && errors.Is(o.err, context.Cause(ctx)) {
			return "", nil, m.kept()
		}
		return o.temp, o.closed, o.err
	case <-time.After(openPatience + time.Second):
		return "", nil, fault.Machine("df "+m.Root+"    # doesn't end where the file system doesn't answer", "%s doesn't answer", m.Root)
	}
}

func (m Machine) kept() error {
	return fault.New("builder doctor    # once that has ended",
		"another command has %s to itself for more than %v: it prunes, checks or resets", m.Root, openPatience)
}

// withoutStore tells that the checks which need the store can't be made.
func (m Machine) withoutStore(err error) []Result {
	results := []Result{lacks("store", err)}
	for _, name := range inside {
		if !slices.Contains([]string{"mapping", "pid-namespace", "store"}, name) {
			results = append(results, skipped(name, "it needs the store"))
		}
	}
	return results
}

// Below these bytes and files that are free, builds will soon fail.
const (
	fewBytes = 2 << 30
	fewFiles = 50_000
)

func (m Machine) space() Result {
	d := doctor.DiskOf(m.Root)
	found := inUnits(d.Free) + " of " + inUnits(d.Size) + " free"
	switch {
	case d.Size == 0: // as ramfs and some file systems of networks have it
		return ok("space", "as much as there is: %s tells no size", d.Type)
	case d.Free < fewBytes:
		r := about("space").result(Less, found+": less than builds are likely to need")
		r.Remedy = room.PruneCache
		return r
	case d.Files < fewFiles:
		r := about("space").result(Less, fmt.Sprintf("%s, but only %d files more can be made", found, d.Files))
		r.Remedy = room.PruneCache
		return r
	}
	return ok("space", "%s", found)
}

// inUnits gives bytes as other commands do: 279MB.
func inUnits(bytes uint64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

// locks tries whether a lock keeps another one out: on some file systems of
// other machines none does, or none is to be had.
func (p probe) locks(context.Context) Result {
	dir, err := p.dir("locks")
	if err != nil {
		return lacks("lock", err)
	}
	path := filepath.Join(dir, "lock")
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return lacks("lock", err)
		}
		defer func() { _ = files[i].Close() }()
	}
	if err := unix.Flock(int(files[0].Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return lacks("lock", doctor.Locks(err, p.Root))
	}
	if err := unix.Flock(int(files[1].Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return lacks("lock", doctor.Locks(errors.New("two have the same lock"), p.Root))
	}
	return ok("lock", "they hold")
}

// disk tries what trees need of a file system whatever the driver is.
func (p probe) disk(context.Context) Result {
	dir, err := p.dir("disk")
	if err != nil {
		return lacks("disk", err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return lacks("disk", err)
	}
	if err := unix.Setxattr(path, "user.builder.doctor", []byte("1"), 0); err != nil {
		return lacks("disk", doctor.Attributes(err, p.Root))
	}
	if err := giveAway(path); err != nil && p.mapping.Kind != userns.KindOwn { // who isn't root keeps owners aside
		return lacks("disk", doctor.Owners(err, p.Root))
	}
	d := doctor.DiskOf(p.Root)
	found := d.Type
	if d.NoDev {
		found += ", nodev, which does no harm"
	}
	if err := execute(dir); errors.Is(err, unix.EACCES) {
		found += ", noexec: with --storage-driver vfs no RUN could start a program"
	}
	return ok("disk", "%s", found)
}

// giveAway gives a file to another user, where there is one among the ids here.
func giveAway(path string) error {
	if !isMapped("/proc/self/uid_map", 1) || !isMapped("/proc/self/gid_map", 1) {
		return nil
	}
	return kernels(os.Lchown(path, 1, 1))
}

// isMapped looks for an id in an id map of /proc: user_namespaces(7).
func isMapped(path string, id uint64) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var first, outside, size uint64
		if _, err := fmt.Sscan(line, &first, &outside, &size); err == nil && first <= id && id-first < size {
			return true
		}
	}
	return false
}

// execute starts a script that it makes in dir; nil also where there is no shell.
func execute(dir string) error {
	const shell = "/bin/sh"
	if _, err := os.Stat(shell); err != nil {
		return nil
	}
	path := filepath.Join(dir, "script")
	if err := os.WriteFile(path, []byte("#!"+shell+"\nexit 0\n"), 0o700); err != nil {
		return err
	}
	var err error
	for range 20 { // a program that is being started elsewhere may still have it open
		if err = exec.Command(path).Run(); !errors.Is(err, unix.ETXTBSY) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}
