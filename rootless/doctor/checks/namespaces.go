package checks

import (
	"context"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/userns"
)

// asRoot has a child be root of a user namespace that has the caller's id alone.
func asRoot() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

func userNamespace(ctx context.Context) Result {
	if err := child(ctx, asRoot(), nil, nil, "mounts"); err != nil {
		return lacks("user-namespace", doctor.Namespace(err))
	}
	return ok("user-namespace", "one can be made, and its root may mount")
}

// makePrivate is what builder does first in its namespace. Ubuntu's AppArmor lets
// anyone make one, and its root do nothing.
func makePrivate() error {
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

func nestedNamespace(ctx context.Context) Result {
	if err := child(ctx, asRoot(), nil, nil, "nest"); err != nil {
		return lacks("nested-namespace", doctor.Namespace(err))
	}
	return ok("nested-namespace", "one can be made within another")
}

func nest() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return child(ctx, asRoot(), nil, nil, "mounts")
}

func tools(context.Context) Result {
	if os.Geteuid() == 0 {
		return about("newuidmap").result(Info, "root maps ids himself")
	}
	found, err := doctor.IDMapTools()
	if err != nil {
		return lacks("newuidmap", err)
	}
	return ok("newuidmap", "%s, %s", found.NewUIDMap, found.NewGIDMap)
}

func subordinateIDs(context.Context) []Result {
	if os.Geteuid() == 0 && !doctor.InitialNamespace() {
		const why = "this namespace's own ids are enough"
		return []Result{about("subordinate-ids").result(Info, why), about("overlapping-ids").result(Info, why)}
	}
	lack := userns.CheckRanges()
	overlap := ok("overlapping-ids", "yours are nobody else's")
	if err := userns.CheckOverlap(); err != nil {
		overlap = lacks("overlapping-ids", err)
	}
	if lack != nil {
		r := lacks("subordinate-ids", lack)
		if os.Geteuid() == 0 && doctor.Here().Container != "" {
			r.State = Info // a user namespace for the container is what it needs
		}
		return []Result{r, overlap}
	}
	return []Result{ok("subordinate-ids", "%s", strings.Join(userns.Ranges(), ", ")), overlap}
}

// pidNamespace tells what entering the namespace has shown.
func pidNamespace(m userns.Mapping) Result {
	if m.Plain() {
		return skipped("pid-namespace", needsNamespace)
	}
	if userns.PIDNamespace() {
		return ok("pid-namespace", "a fresh /proc can be mounted")
	}
	return lacks("pid-namespace", doctor.PIDNamespace(userns.StepDown()))
}
