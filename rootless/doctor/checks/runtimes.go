package checks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
)

// runtimes tries one after the other: the sandbox hides cgroups of version 1 from
// crun, and with that from whatever is started after it; runc wants to see them.
func (p probe) runtimes(ctx context.Context) []Result {
	return []Result{p.runtime(ctx, "runc"), p.runtime(ctx, "crun")}
}

// runtime has a container started by crun or runc, with this program in it.
func (p probe) runtime(ctx context.Context, name string) Result {
	found, err := sandbox.FindRuntime(name)
	if err != nil {
		if _, none := sandbox.FindRuntime(""); none != nil {
			err = none
		}
		return lacks(name, err)
	}
	if found, err = found.WithVersion(); err != nil {
		return lacks(name, err)
	}
	if err := p.start(ctx, found); err != nil {
		return lacks(name, doctor.Runtime(found.Name, err))
	}
	return ok(name, "%s starts containers (%s)", found.Version, found.Path)
}

func (p probe) start(ctx context.Context, found sandbox.Runtime) error {
	dir, err := p.dir(found.Name)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	root, state := filepath.Join(dir, "root"), filepath.Join(dir, "state")
	for _, d := range []string{root, state} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	exit, err := sandbox.NewOCI(found, "", userns.PIDNamespace()).Run(ctx, sandbox.Spec{
		ID: "doctor-" + found.Name, RootFS: root, StateDir: state, Args: []string{ChildPath, "run"}, Network: network.ModeNone,
		Mounts: []sandbox.Mount{{Type: "bind", Source: program, Destination: ChildPath, Options: []string{"bind", "ro"}}},
		Stdout: &out, Stderr: &out,
	})
	if err == nil && exit.Code != 0 {
		err = fault.New("", "a program that does nothing has ended with exit code %d: %s", exit.Code, bytes.TrimSpace(out.Bytes()))
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer after %v", patience)
	}
	return err
}
