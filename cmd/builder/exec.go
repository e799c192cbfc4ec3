package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/layout"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Category:  categoryBuild,
		Usage:     "Run one more command in a container that runs",
		ArgsUsage: "CONTAINER COMMAND [ARGUMENT...]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass the standard input on"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give it a terminal"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME[=VALUE]`, else as it is here"},
			&cli.StringSliceFlag{Name: "env-file", Usage: "set what stands in `FILE`, one NAME=VALUE a line"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
			&cli.BoolFlag{Name: "privileged", Usage: "confine it by the user namespace alone"},
			detachKeysFlag(),
		},
		Action: coded(execute),
	}
}

// execute runs a program beside a container's own.
func execute(c *cli.Context) error {
	if c.NArg() < 2 {
		return usageError(c.Command.HelpName, "%s needs a container and a command", c.Command.HelpName)
	}
	given, err := readEnvironment(c.StringSlice("env-file"), c.StringSlice("env"))
	if err != nil {
		return err
	}
	keys, err := readDetachKeys(c)
	if err != nil {
		return err
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	ref := c.Args().First()
	config, _, err := n.find(ref)
	if err != nil {
		return err
	}
	w := wishes{in: c.Bool("interactive"), out: true, err: true, terminal: c.Bool("tty"), detachKeys: keys}
	if c.Bool("detach") {
		w.in, w.out, w.err = false, false, false
	}
	if w.in && w.terminal {
		if err := needTerminal(os.Stdin); err != nil {
			return err
		}
	}
	r, err := execRequest(c, config, given)
	if err != nil {
		return err
	}
	return n.ask(ref, func(client *container.Client) error { return runExec(c.Context, client, r, w) })
}

// execRequest is what the user asks of a program in a container that was made so.
func execRequest(c *cli.Context, config container.Config, given []string) (container.ExecRequest, error) {
	var settings layout.RunConfig
	if err := json.Unmarshal(config.Settings, &settings); err != nil {
		return container.ExecRequest{}, fmt.Errorf("container %s: %w", config.ID, err)
	}
	r := container.ExecRequest{User: c.String("user"), Detached: c.Bool("detach")}
	r.Exec = sandbox.Exec{
		Args: c.Args().Tail(), Cwd: config.Spec.Cwd, Terminal: c.Bool("tty"), Insecure: c.Bool("privileged"),
		Env: execEnv(config.Spec.Env, settings.Env, r.User != "", c.Bool("tty"), given),
	}
	if dir := c.String("workdir"); dir != "" {
		if !path.IsAbs(dir) {
			return r, fault.New("write it from / on", "the working directory '%s' is invalid, it needs to be an absolute path", dir)
		}
		r.Exec.Cwd = path.Clean(dir)
	}
	if r.Exec.Terminal {
		size := userSize()
		r.Exec.Size = sandbox.Winsize{Rows: size.Row, Cols: size.Col}
	}
	return r, nil
}

// execEnv is the environment of a container's program, settled when that was made;
// of it a terminal's kind and, where it is another user's, the home are its own
// unless they were asked for.
func execEnv(env, settings []string, otherUser, terminal bool, given []string) []string {
	own := func(name string) bool {
		return !slices.ContainsFunc(settings, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	var base []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if name == "TERM" && own(name) || name == "HOME" && otherUser && own(name) {
			continue
		}
		base = append(base, v)
	}
	if terminal && own("TERM") {
		base = append(base, "TERM=xterm")
	}
	return mergeEnv(base, given)
}

// runExec has a monitor run a program, and ends as that does.
func runExec(ctx context.Context, client *container.Client, r container.ExecRequest, w wishes) error {
	if w.terminal && w.out {
		return runOnTerminal(ctx, client, r, w)
	}
	w.terminal = false
	a, err := newAttached(w)
	if err != nil {
		return err
	}
	s := a.streams
	_, err = client.Exec(r, s.In, s.Out, s.Err)
	a.passed()
	if err != nil || r.Detached {
		return err
	}
	return containerExit(a.follow(ctx, client))
}

// runOnTerminal is runExec for a program with a terminal of its own, which is had
// directly.
func runOnTerminal(ctx context.Context, client *container.Client, r container.ExecRequest, w wishes) error {
	terminal, err := client.Exec(r, nil, nil, nil)
	if err != nil {
		return err
	}
	if terminal == nil {
		return errors.New("the container's monitor has given no terminal")
	}
	defer func() { _ = terminal.Close() }()
	a := ownTerminal(w, terminal)
	exit, err := a.follow(ctx, client)
	if errors.Is(err, errLeft) {
		return errors.Join(err, client.Leave())
	}
	return containerExit(exit, err)
}
