package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// readRequest reads what run or create was called with. What can be told of a
// mistake without the image is told here.
func readRequest(c *cli.Context) (containerRequest, error) {
	r := containerRequest{
		Image: c.Args().First(), Args: c.Args().Tail(), Platform: platformFlag(c), Quiet: c.Bool("quiet"),
		Workdir: c.String("workdir"), User: c.String("user"), Groups: c.StringSlice("group-add"), Init: c.Bool("init"),
		Name: c.String("name"), Hostname: c.String("hostname"), Remove: c.Bool("rm"), NoHealthcheck: c.Bool("no-healthcheck"),
		Privileged: c.Bool("privileged"), ReadOnly: c.Bool("read-only"), PublishAll: c.Bool("publish-all"),
		Terminal: c.Bool("tty"), Interactive: c.Bool("interactive"), Detached: c.Bool("detach"), SigProxy: c.Bool("sig-proxy"),
	}
	if r.Image == "" {
		return r, usageError(c.Command.HelpName, "%s needs an image", c.Command.HelpName)
	}
	for _, word := range append([]string{r.Image, r.Workdir, r.User, c.String("entrypoint")}, r.Args...) {
		if !utf8.ValidString(word) {
			return r, notText(fmt.Sprintf("the argument %q", word))
		}
	}
	for _, read := range []func(*cli.Context) error{
		r.readPull, r.readProcess, r.readStreams, r.readLife, r.readNetwork, r.readPorts, r.readMounts, r.readConfinement, r.readLimits,
	} {
		if err := read(c); err != nil {
			return r, err
		}
	}
	return r, r.checkSharing()
}

// readPull reads when the registry is asked for the image.
func (r *containerRequest) readPull(c *cli.Context) error {
	switch text := c.String("pull"); text {
	case "", "missing":
		r.Pull = pullMissing
	case "always", "newer": // what is compared are digests, so that podman's newer is the same
		r.Pull = pullAlways
	case "never":
		r.Pull = pullNever
	default:
		return usageError(c.Command.HelpName, `invalid pull option: '%s': must be one of "always", "missing" or "never"`, text)
	}
	return nil
}

// readProcess reads the entry point, the environment and the labels.
func (r *containerRequest) readProcess(c *cli.Context) (err error) {
	if c.IsSet("entrypoint") {
		if word := c.String("entrypoint"); word != "" {
			r.Entrypoint = []string{word}
		} else {
			r.ResetEntry = true
		}
	}
	if r.Env, err = readEnvironment(c.StringSlice("env-file"), c.StringSlice("env")); err != nil {
		return err
	}
	r.Proxies, r.Authorities = containerProxies(), authorities(c).PEM()
	r.Labels, err = readLabels(c.StringSlice("label-file"), c.StringSlice("label"))
	return err
}

// readStreams reads to what the user is attached, and how he leaves.
func (r *containerRequest) readStreams(c *cli.Context) (err error) {
	streams := c.StringSlice("attach")
	for _, stream := range streams {
		switch strings.ToLower(stream) {
		case "stdin":
			r.AttachedStdin = true
		case "stdout":
			r.AttachedStdout = true
		case "stderr":
			r.AttachedStderr = true
		default:
			return usageError(c.Command.HelpName, "invalid argument %q for -a: valid streams are STDIN, STDOUT and STDERR", stream)
		}
	}
	if len(streams) == 0 {
		r.AttachedStdout, r.AttachedStderr = true, true
	}
	r.AttachedStdin = r.AttachedStdin || r.Interactive
	if r.Detached {
		if len(streams) > 0 {
			return usageError(c.Command.HelpName, "Conflicting options: -a and -d")
		}
		r.AttachedStdin, r.AttachedStdout, r.AttachedStderr = false, false, false
	}
	r.DetachKeys, err = readDetachKeys(c)
	return err
}

// readNetwork reads which network it is, and what the container is called there.
func (r *containerRequest) readNetwork(c *cli.Context) error {
	o, err := readSandboxFlags(c)
	if err != nil {
		return err
	}
	r.Network = container.Network{Mode: o.network.Mode, Helper: o.network.Helper, Container: o.network.Container, DNS: o.dns, AddHosts: o.addHosts}
	r.Ulimits, r.ShmSize, r.EmulateIDs = o.ulimits, o.shmSize, o.emulate
	const longest = 64 // sethostname(2)
	odd := func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) || c == '#' }
	if len(r.Hostname) > longest || strings.ContainsFunc(r.Hostname, odd) {
		return usageError(c.Command.HelpName, "invalid hostname format for --hostname: %q: it has spaces, or more than %d bytes", r.Hostname, longest)
	}
	return nil
}

// readMounts reads what the container is shown beside its image.
func (r *containerRequest) readMounts(c *cli.Context) (err error) {
	r.Mounts, err = readMountFlags(c)
	return err
}

// readConfinement reads what the container may do beyond, or less than, others.
func (r *containerRequest) readConfinement(c *cli.Context) (err error) {
	r.CapAdd, r.CapDrop = words(c.StringSlice("cap-add")), words(c.StringSlice("cap-drop"))
	if _, err := sandbox.Capabilities(r.CapAdd, r.CapDrop); err != nil {
		return err
	}
	if r.Security, err = sandbox.ParseSecurity(c.StringSlice("security-opt")); err != nil {
		return err
	}
	for _, text := range c.StringSlice("device") {
		d, err := parseDevice(text)
		if err != nil {
			return err
		}
		r.Devices = append(r.Devices, d)
	}
	switch mode := c.String("userns"); mode {
	case "", "host", "private", "auto": // podman's host is what every container has here
	case "keep-id":
		r.KeepID, r.CallerUID, r.CallerGID = true, os.Getuid(), os.Getgid()
	default:
		return fault.New("leave it out, or write keep-id", "--userns %s: a container has builder's user namespace, and that can't be chosen", mode)
	}
	return nil
}
