package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
)

func debugCommand() *cli.Command {
	return &cli.Command{
		Name:      "debug",
		Category:  categoryMore,
		Usage:     "Open a shell in a step that failed",
		ArgsUsage: "[STEP] [-- COMMAND [ARGUMENT...]]",
		Description: `
The newest failed RUN, or else STEP, is opened as its command left it: files,
user, environment, mounts, network. A COMMAND takes the place of the shell.
Nothing that is changed there is kept.`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "before", Usage: "open it as it was before its command ran"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME[=VALUE]`, else as it is here"},
		}, secretFlags()...),
		Action: debugStep,
		Subcommands: []*cli.Command{
			{
				Name:  "ls",
				Usage: "List the failed steps, the newest first",
				Flags: []cli.Flag{
					textOrJSON(),
					&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print their ids only"},
				},
				Action: noArguments(debugList),
			},
			{
				Name:      "rm",
				Usage:     "Remove failed steps",
				ArgsUsage: "STEP [STEP...]",
				Flags:     []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove all of them"}},
				Action:    debugRemove,
			},
		},
	}
}

// debugStep finds the step outside of the user namespace, and opens it inside.
func debugStep(c *cli.Context) error {
	id, command, err := debugArguments(c)
	if err != nil {
		return err
	}
	var secrets build.Options
	if err := readSecretFlags(c, &secrets); err != nil {
		return err
	}
	if userns.Inside() {
		return debugInside(c, id, command, secrets)
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	_, step, err := openFailure(store, id)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	release, err := cgroup.Claim(c.Context, step.Limits())
	if err != nil {
		tell(c.App.ErrWriter, fault.New(fault.Remedy(err), "going on without the step's limits: %w", err))
	}
	defer release()
	return enter(c, nil, storeEnv(store)...)
}

// openFailure finds a failed step and reads it.
func openFailure(store *storage.Store, id string) (*cache.Failure, *stage.FailedStep, error) {
	f, err := findFailure(store, id)
	if err != nil {
		return nil, nil, err
	}
	step, err := stage.OpenFailure(f)
	return f, step, err
}

// debugArguments parts the step from the command behind "--".
func debugArguments(c *cli.Context) (id string, command []string, err error) {
	args := c.Args().Slice()
	if i := slices.Index(args, "--"); i >= 0 {
		args, command = args[:i], args[i+1:]
	}
	switch len(args) {
	case 0:
		return "", command, nil
	case 1:
		return args[0], command, nil
	}
	return "", nil, usageError(c.Command.HelpName, "%s opens one step; what it is to run stands behind --", c.Command.HelpName)
}

func debugInside(c *cli.Context, id string, command []string, secrets build.Options) (err error) {
	h, err := openHost(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	f, step, err := openFailure(h.store, id)
	if err != nil {
		return err
	}
	release, err := cgroup.Claim(c.Context, step.Limits())
	if err != nil {
		step.Unlimit() // that was told outside
	}
	defer release()
	env, err := readEnvironment(nil, c.StringSlice("env"))
	if err != nil {
		return err
	}
	if len(command) == 0 && onTerminal() {
		printBanner(c.App.ErrWriter, fmt.Sprintf("%s: %s: %s", f.Place, oneLine(f.Instruction), f.Cause), c.Bool("before"))
	}
	return openStep(c, build.Env{
		Store: h.store, ExactOwners: h.mapping.Faithful(), Snapshots: h.snapshots, Sandbox: h.isolation,
	}, step, build.DebugOptions{
		Before: c.Bool("before"), Args: command, Env: mergeEnv(env),
		Secrets: secrets.Secrets, SSH: secrets.SSH, Proxy: proxies(nil), Trust: authorities(c),
	})
}

// openStep runs the shell or the command, and ends with its exit code.
func openStep(c *cli.Context, env build.Env, step *stage.FailedStep, o build.DebugOptions) error {
	o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
	o.Terminal = onTerminal()
	o.Note = func(err error) { tell(c.App.ErrWriter, err) }
	return asExit(build.Debug(c.Context, env, step, o))
}

// onTerminal tells whether somebody types and reads.
func onTerminal() bool { return isTerminal(os.Stdin) && isTerminal(os.Stdout) }

// printBanner tells whoever gets a shell where he is.
func printBanner(w io.Writer, what string, before bool) {
	state := "as its command left it"
	if before {
		state = "as it was before its command ran"
	}
	_, _ = fmt.Fprintf(w, "%s: %s\n  the step is open %s; what you change is gone when you leave\n  eval \"$%s\"    # runs its command\n",
		programName, what, state, stage.FailedCommandEnv)
}

// findFailure gives the failed step whose id begins so; the newest where id is
// "".
func findFailure(store *storage.Store, id string) (*cache.Failure, error) {
	all, err := build.Failures(store)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fault.New("builder bud --on-failure shell .    # opens one as soon as a step fails", "no failed step is kept")
	}
	if id == "" {
		return all[0], nil
	}
	var found *cache.Failure
	for _, f := range all {
		if !strings.HasPrefix(f.Key.Encoded(), strings.TrimPrefix(id, "sha256:")) {
			continue
		}
		if found != nil {
			return nil, fault.New("give more digits", "several failed steps begin with %s", id)
		}
		found = f
	}
	if found == nil {
		return nil, fault.New("builder debug ls    # lists them", "no failed step is called %s", id)
	}
	return found, nil
}

// failedStep is one line of `debug ls`.
type failedStep struct {
	ID          string        `json:"id"`
	Key         digest.Digest `json:"key"`
	Failed      time.Time     `json:"failed"`
	Place       string        `json:"place"`
	Dockerfile  string        `json:"dockerfile"`
	Context     string        `json:"context"`
	Target      string        `json:"target,omitempty"`
	Stage       string        `json:"stage"`
	Instruction string        `json:"instruction"`
	ExitCode    int           `json:"exitCode"`
	Cause       string        `json:"cause"`
}

func debugList(c *cli.Context) error {
	return withStore(c, func(store *storage.Store) error {
		all, err := build.Failures(store)
		if err != nil {
			return err
		}
		steps := make([]failedStep, len(all))
		for i, f := range all {
			steps[i] = failedStep{
				format.ShortID(f.Key), f.Key, f.Failed, f.Place, f.Dockerfile, f.Context, f.Target, f.Stage, f.Instruction, f.ExitCode, f.Cause,
			}
		}
		switch {
		case c.Bool("quiet"):
			for _, s := range steps {
				if _, err := fmt.Fprintln(c.App.Writer, s.ID); err != nil {
					return err
				}
			}
			return nil
		case c.String("format") == "json":
			return printJSON(c.App.Writer, steps)
		}
		return printFailed(c.App.Writer, steps)
	})
}

func printFailed(w io.Writer, steps []failedStep) error {
	rows := [][]string{{"STEP", "FAILED", "PLACE", "TARGET", "EXIT", "INSTRUCTION"}}
	now := time.Now()
	for _, s := range steps {
		target := s.Target
		if target == "" {
			target = "-"
		}
		rows = append(rows, []string{s.ID, format.Ago(s.Failed, now), s.Place, target, fmt.Sprint(s.ExitCode), oneLine(s.Instruction)})
	}
	return format.Rows(w, rows)
}

func debugRemove(c *cli.Context) error {
	if c.Bool("all") == (c.NArg() > 0) {
		return usageError(c.Command.HelpName, "%s needs the ids of failed steps, or --all", c.Command.HelpName)
	}
	if !userns.Inside() {
		return enterWithout(c)
	}
	return withStore(c, func(store *storage.Store) error {
		var picked []*cache.Failure
		for _, id := range c.Args().Slice() {
			f, err := findFailure(store, id)
			if err != nil {
				return err
			}
			picked = append(picked, f)
		}
		if c.Bool("all") {
			var err error
			if picked, err = store.Cache().Failures(); err != nil {
				return err
			}
		}
		for _, f := range picked {
			if err := store.Cache().RemoveFailure(f.Key); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(c.App.Writer, format.ShortID(f.Key)); err != nil {
				return err
			}
		}
		_, err := store.Collector(true).FreeUnreferenced(c.Context, layout.Free{All: true})
		return err
	})
}
