package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

func portCommand() *cli.Command {
	return &cli.Command{
		Name:      "port",
		Category:  categoryMore,
		Usage:     "List where a container's ports are published",
		ArgsUsage: "CONTAINER [PORT[/PROTOCOL]]",
		Action:    coded(listPorts),
	}
}

func listPorts(c *cli.Context) error {
	if c.NArg() != 1 && c.NArg() != 2 {
		return usageError(c.Command.HelpName, "%s takes a container, and a port where one is meant", c.Command.HelpName)
	}
	ref, wanted := c.Args().First(), c.Args().Get(1)
	if wanted != "" {
		first, last, proto, ok := portRange(wanted)
		if !ok || first != last {
			return fault.New("write it as 80 or 53/udp", "invalid port '%s'", wanted)
		}
		wanted = fmt.Sprintf("%d/%s", first, proto)
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	_, state, err := n.find(ref)
	if err != nil {
		return err
	}
	lines := portLines(state.Ports, wanted)
	if wanted != "" && len(lines) == 0 {
		return fmt.Errorf("no public port '%s' published for %s", wanted, ref)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
			return err
		}
	}
	return nil
}

// portLines are docker's: "80/tcp -> 0.0.0.0:8080" for each port or, where one is
// wanted, its address alone.
func portLines(published []network.Port, wanted string) []string {
	var lines []string
	for _, p := range shownPorts(published, nil) {
		port := fmt.Sprintf("%d/%s", p.private, p.proto)
		address := net.JoinHostPort(p.address.String(), strconv.Itoa(int(p.public)))
		switch {
		case wanted == "":
			lines = append(lines, port+" -> "+address)
		case strings.EqualFold(wanted, port):
			lines = append(lines, address)
		}
	}
	return lines
}
