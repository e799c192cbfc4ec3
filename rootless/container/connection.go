package container

import (
	"context"

	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// connection is what joins a container to its network.
type connection struct {
	config  *Config
	pending *network.Pending   // until the network is ready; nil where it isn't a private one
	private *network.Namespace // from then on
	network network.Network
}

// connect begins to make the network that c asks for.
func connect(ctx context.Context, runDir string, c *Config) (_ *connection, err error) {
	n := &connection{config: c}
	switch c.Network.Mode {
	case network.ModePrivate:
		if n.pending, err = network.Begin(ctx, runDir, c.Network.Helper, c.Network.DNS, c.Ports); err != nil {
			return nil, err
		}
		n.network = n.pending.Network()
	case network.ModeNone:
		n.network = network.ForNone()
	default:
		n.network = network.ForHost(c.Network.DNS)
	}
	return n, nil
}

// apply tells a program of its network.
func (n *connection) apply(spec *sandbox.Spec) {
	spec.Network, spec.NetNS = n.network.Mode, n.network.NSPath
	if spec.ResolvConf = n.network.Resolv; spec.ResolvConf == nil {
		spec.ResolvConf = []byte{}
	}
	spec.Hosts = sandbox.HostsFile(spec.Hostname, n.network.HostsIP, n.config.Network.AddHosts)
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
