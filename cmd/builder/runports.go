package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

// readPorts reads which ports are published, and which are exposed.
func (r *containerRequest) readPorts(c *cli.Context) error {
	for _, text := range c.StringSlice("publish") {
		ports, err := network.ParsePort(text)
		if err != nil {
			return err
		}
		r.Ports = append(r.Ports, ports...)
	}
	for _, text := range c.StringSlice("expose") {
		ports, err := network.ParsePort(text)
		if err != nil || strings.Contains(text, ":") {
			return fault.New("write --expose PORT[-PORT][/udp]; -p publishes ports", "invalid range format for --expose: %s", text)
		}
		for _, p := range ports {
			r.Expose = append(r.Expose, p.Container())
		}
	}
	return r.checkPublishing(r.Network.Mode)
}

// checkPublishing tells that ports can't be published in a network of that mode,
// which may be "" while it isn't known.
func (r *containerRequest) checkPublishing(mode network.Mode) error {
	if mode == "" || mode == network.ModePrivate || mode == network.ModeShared || // checkSharing tells more
		len(r.Ports) == 0 && !r.PublishAll {
		return nil
	}
	return fault.New("leave out -p, or use --network private", "ports can't be published with --network %s", mode)
}

// exposedPorts are those that the user exposes or publishes, as PORT/PROTOCOL.
func (r containerRequest) exposedPorts() map[string]struct{} {
	ports := map[string]struct{}{}
	for _, port := range r.Expose {
		ports[port] = struct{}{}
	}
	for _, p := range r.Ports {
		ports[p.Container()] = struct{}{}
	}
	return ports
}

// publishedPorts are those that were named and, where all are asked for, all that
// are exposed.
func (r containerRequest) publishedPorts(all map[string]struct{}) ([]network.Port, error) {
	if !r.PublishAll {
		return r.Ports, nil
	}
	more, err := network.Exposed(slices.Sorted(maps.Keys(all)), r.Ports)
	return slices.Concat(r.Ports, more), err
}
