package main

import (
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
)

// checkSharing tells what a container can't have that shares another's network.
func (r *containerRequest) checkSharing() error {
	if r.Network.Mode != network.ModeShared {
		return nil
	}
	conflict := func(option, why string) error {
		return fault.New("leave it out, or let the other container have it", "conflicting options: %s and the container type network mode%s", option, why)
	}
	dns := r.Network.DNS
	switch {
	case r.Hostname != "":
		return conflict("hostname", "")
	case len(r.Ports) > 0 || r.PublishAll:
		return conflict("port publishing", "")
	case len(r.Expose) > 0:
		return conflict("port exposing", "")
	case len(dns.Servers)+len(dns.Search)+len(dns.Options) > 0:
		return conflict("dns", "")
	case len(r.Network.AddHosts) > 0:
		return conflict("custom host-to-IP mapping", "")
	case r.KeepID:
		return conflict("--userns keep-id", ", in which ids are the other's")
	}
	return nil
}

// share finds the container whose network is shared, and takes on what goes with
// it: its name in the network, and the ids of its user namespace.
func (r *containerRequest) share(store *storage.Store) error {
	if r.Network.Mode != network.ModeShared {
		return nil
	}
	owner, err := findFor(store, r.Network.Container)
	if err != nil {
		return err
	}
	r.Network.Container = owner.Config.ID
	r.Hostname, r.SharedKeepID = owner.Config.Spec.Hostname, owner.Config.KeepID
	return nil
}

// place is where a monitor is started: by itself in a user namespace of its own,
// with another container's network in that one's.
type place struct {
	label   string // tells in lists of processes which monitor it is
	keepID  bool
	limits  cgroup.Limits // to which its program is to be held
	join    int           // the other's monitor
	network *os.File      // the other's network namespace; nil where that is the host's, too
}

func (p place) close() {
	if p.network != nil {
		_ = p.network.Close()
	}
}

// options are what the user namespace must know.
func (p place) options(c *cli.Context) userns.Options {
	o := entering(c)
	o.KeepID, o.Join = p.keepID, p.join
	return o
}

// findPlace gives the place where a container is to run.
func findPlace(c *cli.Context, n container.Network, keepID bool, limits cgroup.Limits) (p place, err error) {
	p.limits = limits
	if n.Mode != network.ModeShared {
		p.keepID = keepID
		return p, nil
	}
	store, err := openStore(c)
	if err != nil {
		return p, err
	}
	owner, err := findFor(store, n.Container)
	if err := errors.Join(err, store.Close()); err != nil {
		return p, err
	}
	client, err := dialMonitor(c, owner.Config.ID)
	if err == nil {
		defer func() { _ = client.Close() }()
		p.join, err = client.PID()
	}
	if err == nil && owner.Config.Network.Mode != network.ModeHost {
		p.network, err = network.OfContainer(p.join)
	}
	if errors.Is(err, container.ErrNotRunning) || errors.Is(err, network.ErrNotRunning) {
		err = fault.New("builder start "+owner.Config.Name, "cannot join network of a non running container: %s", owner.Config.Name)
	}
	return p, err
}
