package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// readRequest reads what run or create was called with. What can be told of a
// mistake without the image is told here.
func readRequest(c *cli.Context) (containerRequest, error) {
	r := containerRequest{
		Image: c.Args().First(), Args: c.Args().Tail(), Platform: platformFlag(c), Pull: readPullPolicy(c), Quiet: c.Bool("quiet"),
		Workdir: c.String("workdir"), User: c.String("user"), Groups: c.StringSlice("group-add"), Init: c.Bool("init"),
		Name: c.String("name"), Hostname: c.String("hostname"), Remove: c.Bool("rm"),
		Privileged: c.Bool("privileged"), ReadOnly: c.Bool("read-only"), PublishAll: c.Bool("publish-all"),
		Terminal: c.Bool("tty"), Interactive: c.Bool("interactive"), Detached: c.Bool("detach"), SigProxy: c.Bool("sig-proxy"),
	}
	if r.Image == "" {
		return r, usageError(c.Command.HelpName, "%s needs an image", c.Command.HelpName)
	}
	var err error
	if r.Mounts, err = readMountFlags(c); err != nil {
		return r, err
	}
	for _, read := range []func(*cli.Context) error{
		r.readProcess, r.readStreams, r.readLife, r.readLog, r.readNetwork, r.readConfinement, r.readLimits,
	} {
		if err := read(c); err != nil {
			return r, err
		}
	}
	var err error
	r.Mounts, err = readMountFlags(c)
	return r, err
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
	r.Labels, err = readLabels(c.StringSlice("label-file"), c.StringSlice("label"))
	return err
}

// readStreams reads to what the caller is attached, and how he leaves.
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
	r.DetachKeys, err = readDetachKeys(c.String("detach-keys"))
	return err
}

// needTerminal tells that the program can't have the terminal that it was to have.
func (r *containerRequest) needTerminal(in *os.File) error {
	if !r.Terminal || !r.AttachedStdin || isTerminal(in) {
		return nil
	}
	return &fault.Error{Err: errors.New("the input device is not a TTY"), Remedy: "leave out -t", Code: 1}
}

// readLife reads what the container is called, and how it begins and ends.
func (r *containerRequest) readLife(c *cli.Context) (err error) {
	if err := checkContainerName(r.Name); err != nil {
		return err
	}
	if r.Restart, err = parseRestart(c.String("restart")); err != nil {
		return err
	}
	if r.Remove && r.Restart.Policy != "" && r.Restart.Policy != container.RestartNo {
		return usageError(c.Command.HelpName, "Conflicting options: --restart and --rm")
	}
	if r.StopSignal = c.String("stop-signal"); r.StopSignal != "" {
		if _, err := container.ParseSignal(r.StopSignal); err != nil {
			return err
		}
	}
	if c.IsSet("stop-timeout") {
		seconds := c.Int("stop-timeout")
		r.StopTimeout = &seconds
	}
	if file := c.String("cidfile"); file != "" {
		if r.CIDFile, err = filepath.Abs(file); err != nil {
			return err
		}
		if _, err := os.Lstat(r.CIDFile); !errors.Is(err, fs.ErrNotExist) {
			return fault.New("", "Container ID file found, make sure the other container isn't running or delete %s", file)
		}
	}
	return nil
}

// readNetwork reads flags about the network, and the ports.
func (r *containerRequest) readNetwork(c *cli.Context) error {
	o, err := readSandboxFlags(c)
	if err != nil {
		return err
	}
	r.Network = container.Network{Mode: o.network.Mode, Helper: o.network.Helper, DNS: o.dns, AddHosts: o.addHosts}
	r.Ulimits, r.ShmSize = o.ulimits, o.shmSize
	for _, text := range c.StringSlice("publish") {
		ports, err := network.ParsePort(text)
		if err != nil {
			return err
		}
		r.Ports = append(r.Ports, ports...)
	}
	return r.checkPublishing(r.Network.Mode)
}

// checkPublishing tells that ports can't be published in a network of that mode,
// which may be "" while it isn't known.
func (r *containerRequest) checkPublishing(mode network.Mode) error {
	if mode == "" || mode == network.ModePrivate || len(r.Ports) == 0 && !r.PublishAll {
		return nil
	}
	return fault.New("leave out -p, or use --network private", "ports can't be published with --network %s", mode)
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
	case "", "private", "auto":
	case "keep-id":
		r.KeepID, r.CallerUID, r.CallerGID = true, os.Getuid(), os.Getgid()
	default:
		return fault.New("leave it out, or write keep-id", "--userns %s: a container has builder's user namespace, and that can't be chosen", mode)
	}
	return nil
}

// readLimits reads what the container may use of the machine.
func (r *containerRequest) readLimits(c *cli.Context) (err error) {
	if r.Limits, err = readLimitFlags(c); err != nil {
		return err
	}
	if n := c.Int64("pids-limit"); n > 0 {
		r.Limits.Pids = n
	}
	return nil
}

// readLog reads what is kept of the program's output.
func (r *containerRequest) readLog(c *cli.Context) (err error) {
	r.Log, err = parseLogOptions(c.String("log-driver"), c.StringSlice("log-opt"))
	return err
}

// parseRestart reads docker's POLICY[:TIMES].
func parseRestart(text string) (container.Restart, error) {
	wrong := func(format string, args ...any) (container.Restart, error) {
		return container.Restart{}, fault.New("write --restart no, always, unless-stopped or on-failure[:TIMES]", "invalid restart policy: "+format, args...)
	}
	name, times, limited := strings.Cut(text, ":")
	r := container.Restart{Policy: container.Policy(name)}
	switch r.Policy {
	case "", container.RestartNo, container.RestartAlways, container.RestartUnlessStopped, container.RestartOnFailure:
	default:
		return wrong("unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", name)
	}
	if limited && name == "" {
		return wrong("no policy provided before colon")
	}
	if times == "" {
		return r, nil
	}
	if _, err := fmt.Sscanf(times, "%d", &r.Retries); err != nil {
		return wrong("maximum retry count must be an integer")
	}
	if r.Retries != 0 && r.Policy != container.RestartOnFailure {
		return wrong("maximum retry count can only be used with 'on-failure'")
	}
	if r.Retries < 0 {
		return wrong("maximum retry count cannot be negative")
	}
	return r, nil
}
