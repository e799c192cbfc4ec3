package checks

import (
	"context"
	"errors"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
)

// runtimes tries one after the other: the sandbox hides cgroups of version 1 from
// crun, and with that from whatever is started after it; runc wants to see them.
func (p probe) runtimes(ctx context.Context) []Result {
	return []Result{p.runtime(ctx, "runc"), p.runtime(ctx, "crun"), p.isolation(ctx)}
}

// runtime has a container started by crun or runc, with this program in it.
func (p probe) runtime(ctx context.Context, name string) Result {
	if p.mapping.Plain() {
		return skipped(name, needsNamespace)
	}
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
	if err := sandbox.Probe(ctx, sandbox.NewOCI(found, "", userns.PIDNamespace()), p.temp); err != nil {
		return lacks(name, doctor.Runtime(found.Name, err))
	}
	return ok(name, "%s starts containers (%s)", found.Version, found.Path)
}

// isolation runs a program as a RUN would be run.
func (p probe) isolation(ctx context.Context) Result {
	box := isolation.New(isolation.Options{
		Asked: p.Isolation, Runtime: p.Runtime, RunDir: p.temp, Tell: func(string, *fault.Error) {},
	})
	err := box.Refusal()
	if err == nil {
		err = sandbox.Probe(ctx, box, p.temp)
	}
	level, why, failed := box.Level()
	how := "chroot"
	if weak := box.Weakness(); weak != "" {
		how += ": " + weak
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return skipped("isolation", "nothing had run within "+patience.String()+": this machine is slow, or busy")
	case err != nil:
		return lacks("isolation", err)
	case failed != nil:
		return lacks("isolation", failed)
	case level == isolation.Chroot && why != nil: // what that is stands elsewhere
		return about("isolation").result(Less, how)
	case level == isolation.Chroot:
		return about("isolation").result(Less, how+", as is asked for")
	}
	if !userns.PIDNamespace() {
		return ok("isolation", "%s, without a pid namespace", level)
	}
	return ok("isolation", "%s, the best", level)
}
