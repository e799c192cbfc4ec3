package checks

import (
	"context"
	"errors"
	"time"

	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/doctor"
)

// limits have a controller each.
var limits = map[string]cgroup.Limits{
	"memory": {Memory: 1 << 30},
	"cpu":    {CPUShares: 512},
	"pids":   {PIDs: 1000},
	"io":     {IOWeight: 100},
	"cpuset": {CPUs: "0"},
}

func limitTries() (tries []try) {
	for name := range limits {
		tries = append(tries, one("limit-"+name, func(ctx context.Context) Result {
			if err := child(ctx, nil, nil, nil, "limit", name); err != nil {
				r := lacks("limit-"+name, err)
				if doctor.Here().Container != "" {
					r.State = Info // it has its own limits, and passes nothing on
				}
				return r
			}
			return ok("limit-"+name, "a group with one can be made")
		}))
	}
	return tries
}

// limit makes a group with a limit, as run and bud do.
func limit(args []string) error {
	if len(args) != 1 {
		return errors.New("which?")
	}
	l := limits[args[0]]
	ctx, cancel := context.WithTimeout(context.Background(), patience-time.Second)
	defer cancel()
	release, err := cgroup.Claim(ctx, l)
	if err != nil {
		return err
	}
	defer release()
	groups, err := cgroup.Open(l)
	if err != nil {
		return err
	}
	group, err := groups.New("doctor-"+args[0], l)
	if err != nil {
		return err
	}
	group.Remove()
	return nil
}
