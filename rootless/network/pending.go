package network

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// Pending is a private network whose namespace is there, and whose helper is
// getting ready. A sandbox can be made in it meanwhile; its program should
// start after Ready.
type Pending struct {
	// Path, Resolv, IP and Ports are those of the Namespace to come. Only
	// Resolv may be another one there, where the best helper fails.
	Path   string
	Resolv []byte
	IP     string
	Ports  []Port

	ns     *Namespace
	cancel context.CancelFunc
	done   chan struct{} // closed when ns.carry is ready, or failed says why not
	failed error
}

// Begin makes a private network namespace with ports published, starts the
// helper that is to carry its traffic, and returns. dir is a private run-time
// directory; helper names the helper, "" for the best. Ready or Close must
// follow. The end of ctx counts until Ready returns.
func Begin(ctx context.Context, dir, helper string, dns DNS, ports []Port) (*Pending, error) {
	usable := helpers(helper, lean)
	if len(usable) == 0 {
		return nil, errNoHelper(helper)
	}
	return begin(ctx, dir, dns, ports, usable)
}

func begin(ctx context.Context, dir string, dns DNS, ports []Port, helpers []helper) (*Pending, error) {
	n := &Namespace{IP: guestIP}
	var err error
	if n.claims, err = claimPorts(ports); err != nil {
		return nil, err
	}
	for _, c := range n.claims {
		n.Ports = append(n.Ports, c.Port)
	}
	if n.file, err = newFile(dir); err == nil {
		err = bindNew(n.file.Name())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a network namespace: %w", err), n.Close())
	}
	n.Path = n.file.Name()
	n.Resolv = dns.resolvConf(hostResolvConf(), reach{ipv6: helpers[0].ipv6()})
	p := &Pending{Path: n.Path, Resolv: n.Resolv, IP: n.IP, Ports: n.Ports, ns: n, done: make(chan struct{})}
	ctx, p.cancel = context.WithCancel(ctx)
	go func() {
		defer close(p.done)
		defer p.cancel()
		p.failed = n.start(ctx, helpers, dns)
	}()
	return p, nil
}

// Network gives what a sandbox needs to know of the namespace.
func (p *Pending) Network() Network {
	return Network{Mode: ModePrivate, NSPath: p.Path, Resolv: p.Resolv, HostsIP: p.IP}
}

// Ready waits until the helper carries the network's traffic. With an error
// nothing is left of the network.
func (p *Pending) Ready(ctx context.Context) (*Namespace, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), p.Close())
	}
	if p.failed != nil {
		return nil, errors.Join(p.failed, p.Close())
	}
	return p.ns, nil
}

// Close ends the helper, in whatever state it is, and the namespace. It is the
// Namespace's Close, and either may be called again.
func (p *Pending) Close() error {
	p.cancel()
	<-p.done
	return p.ns.Close()
}

// start tries the helpers in turn. A host that has no route to anywhere isn't
// an error: a build that needs no network goes on there.
func (n *Namespace) start(ctx context.Context, helpers []helper, dns DNS) error {
	host := hostResolvConf()
	var errs []error
	for _, h := range helpers {
		reached := reach{ipv6: h.ipv6()}
		n.Resolv = dns.resolvConf(host, reached)
		p, err := h.attach(ctx, attachment{netns: n.Path, forward: reached.forwarder(host)})
		if err == nil {
			n.carry, n.Helper = p, h.name
			return n.publish()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.name, err))
	}
	if err := errors.Join(errs...); len(n.Ports) > 0 || !strings.Contains(err.Error(), "routable interface") {
		remedy := "use --network host, or look into the helper's message"
		if strings.Contains(err.Error(), "ermission denied") {
			remedy = "sudo journalctl -k | grep apparmor    # tells whether a profile forbids it\n" + doctor.Install(slirp4netns) + "    # has none; or use --network host"
		}
		return fault.Machine(remedy, "a private network can't be set up: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// publish begins to serve the ports that were claimed.
func (n *Namespace) publish() (err error) {
	if len(n.claims) > 0 {
		n.forward, err = newForwarder(n.Path, n.IP, n.claims)
		n.claims = nil
	}
	return err
}
