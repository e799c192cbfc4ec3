package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// connection is what joins a container to its network.
type connection struct {
	config  *Config
	pending *network.Pending   // until the network is ready; nil where it isn't a private one
	private *network.Namespace // from then on
	network network.Network
	files   Files
}

// connect begins to make the network that the container asks for.
func (m *Monitor) connect(ctx context.Context) (_ *connection, err error) {
	c, runDir := &m.Config, m.parts.RunDir
	n := &connection{config: c}
	switch c.Network.Mode {
	case network.ModeShared:
		return n, n.share(m)
	case network.ModePrivate:
		if n.pending, err = network.Begin(ctx, runDir, c.Network.Helper, c.Network.DNS, c.Ports); err != nil {
			return nil, m.explainPort(err)
		}
		n.network = n.pending.Network()
		if err := n.keep(m.runDir()); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	case network.ModeNone:
		n.network = network.ForNone()
	default:
		n.network = network.ForHost(c.Network.DNS)
	}
	hosts, err := n.network.ContainerHosts(c.Network.AddHosts)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.files = Files{
		Resolv: n.network.Resolv,
		Hosts:  sandbox.HostsFile(c.Spec.Hostname, n.network.HostsIP, hosts),
	}
	return n, nil
}

// explainPort names the container that has the port which is in use.
func (m *Monitor) explainPort(err error) error {
	var used network.PortInUseError
	if !errors.As(err, &used) {
		return err
	}
	for _, other := range List(filepath.Dir(m.dir)) {
		has := func(p network.Port) bool { return p.HostPort == used.Port && p.Proto == used.Proto }
		if other.State.Lives() && slices.ContainsFunc(other.State.Ports, has) {
			return fault.New(fmt.Sprintf("builder stop %s    # or publish on another port", other.Config.Name),
				"%w: container %s publishes it", err, other.Config.Name)
		}
	}
	return err
}

// share goes into another container's network, with its resolver and the names
// of its hosts.
func (n *connection) share(m *Monitor) error {
	_, owner, err := Load(filepath.Dir(m.dir), m.Config.Network.Container)
	if err != nil {
		return err
	}
	n.files = owner.Files
	n.network.Mode = network.ModeHost
	if m.parts.Network == nil {
		return nil
	}
	if n.private, err = network.Share(m.parts.RunDir, m.parts.Network); err != nil {
		return err
	}
	n.network = n.private.Network()
	return errors.Join(n.keep(m.runDir()), m.parts.Network.Close())
}

// keep binds the namespace to a file in the monitor's own directory, for the next
// program: the user's run-time directory, where helpers have to find it, is removed
// when he logs out.
func (n *connection) keep(dir string) error {
	path := filepath.Join(dir, "netns")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), unix.Mount(n.network.NSPath, path, "", unix.MS_BIND, "")); err != nil {
		return &os.PathError{Op: "mount", Path: path, Err: err}
	}
	n.network.NSPath = path
	return nil
}

// reconnect makes the network once more whose helper has been killed: the next
// program isn't to do without.
func (e *environment) reconnect(ctx context.Context) (err error) {
	if e.net.private == nil || e.net.private.Lost() == nil {
		return nil
	}
	err = errors.Join(e.net.Close(), unix.Unmount(e.net.network.NSPath, unix.MNT_DETACH))
	if err != nil {
		return err
	}
	e.net = &connection{config: e.net.config} // there is nothing to be closed
	next, err := e.m.connect(ctx)
	if err == nil {
		e.net = next
	}
	return err
}

// apply tells a program of its network.
func (n *connection) apply(spec *sandbox.Spec) {
	spec.Network, spec.NetNS = n.network.Mode, n.network.NSPath
	if spec.ResolvConf = n.files.Resolv; spec.ResolvConf == nil {
		spec.ResolvConf = []byte{}
	}
	spec.Hosts = n.files.Hosts
}

// ready waits until the network carries something.
func (n *connection) ready(ctx context.Context) (err error) {
	if n.pending == nil {
		return nil
	}
	pending := n.pending
	n.pending = nil
	n.private, err = pending.Ready(ctx)
	return err
}

func (n *connection) ports() []network.Port {
	if n.private == nil {
		return nil
	}
	return n.private.Ports
}

func (n *connection) ip() string {
	if n.private == nil {
		return ""
	}
	return n.private.IP
}

// stop begins to end it: that takes longer than asking for it. Who calls it is
// done with the network, or hasn't got one.
func (n *connection) stop() {
	if n != nil && n.private != nil {
		n.private.Stop()
	}
}

// Close ends it.
func (n *connection) Close() error {
	switch {
	case n.pending != nil:
		return n.pending.Close()
	case n.private != nil:
		return n.private.Close()
	}
	return nil
}
