package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/cache"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Category:  categoryBuild,
		Usage:     "Print what a container printed, or a step of a build",
		ArgsUsage: "CONTAINER|STEP",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "details", Usage: "leave room for what docker tells besides"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what the container prints, until its end"},
			&cli.StringFlag{Name: "since", Usage: "leave out what is older than `TIME`: 42m, 2026-01-31T08:30:00Z"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Usage: "print the last `NUMBER` of lines only", Value: "all", DefaultText: "all"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "print when each line was printed"},
			&cli.StringFlag{Name: "until", Usage: "leave out what is newer than `TIME`"},
		},
		Action: coded(logs),
	}
}

// logs prints what a container printed, or else what a step's command did,
// whether or not a build has shown it.
func logs(c *cli.Context) error {
	if c.NArg() != 1 {
		return usageError(c.Command.HelpName, "%s takes exactly one argument: a container, or the id of a step, as a build prints it behind --->", c.Command.HelpName)
	}
	options, err := readLogFlags(c)
	if err != nil {
		return err
	}
	var dir string
	var config container.Config
	err = withStore(c, func(store *storage.Store) (err error) {
		dir = containersDir(store)
		config, _, err = container.Find(dir, c.Args().First())
		if errors.Is(err, container.ErrUnknown) {
			return stepLog(c, store.Cache())
		}
		return err
	})
	if err != nil || config.ID == "" {
		return err
	}
	return containerLog(c, dir, config, options)
}

// readLogFlags reads which part of a log is asked for.
func readLogFlags(c *cli.Context) (log.ReadOptions, error) {
	o := log.ReadOptions{Follow: c.Bool("follow"), Tail: log.All}
	var err error
	if text := c.String("tail"); text != "all" {
		if o.Tail, err = strconv.Atoi(text); err != nil {
			return o, usageError(c.Command.HelpName, "--tail %s is neither a number nor all", text)
		}
	}
	now := time.Now()
	if o.Since, err = readTime(c, "since", now); err == nil {
		o.Until, err = readTime(c, "until", now)
	}
	return o, err
}

// readTime reads a flag that is a time, as docker does.
func readTime(c *cli.Context, name string, now time.Time) (time.Time, error) {
	text := c.String(name)
	if text == "" || text == "0" {
		return time.Time{}, nil
	}
	t, ok := filter.ParseTime(text, now)
	if !ok {
		return t, fault.New("write a span such as 42m, a time such as 2026-01-31T08:30:00Z, or seconds since 1970",
			"invalid value for %q: failed to parse value as time or duration: %q", name, text)
	}
	return t, nil
}

// containerLog prints the log of a container in the directory dir of all. No store
// is open meanwhile: it may take for ever.
func containerLog(c *cli.Context, dir string, config container.Config, o log.ReadOptions) error {
	if config.Log.Driver == log.DriverNone {
		return fault.New("run it without --log-driver none", "configured logging driver does not support reading")
	}
	p := &logPrinter{
		outputs: map[string]io.Writer{log.Stdout: c.App.Writer, log.Stderr: c.App.ErrWriter},
		times:   c.Bool("timestamps"), details: c.Bool("details"),
	}
	o.Idle = p.flush
	o.Ended = func() bool {
		_, state, err := container.Load(dir, config.ID)
		return err != nil || !state.Lives()
	}
	err := log.Read(c.Context, filepath.Join(dir, config.ID), o, p.print)
	var by stopped
	if o.Follow && errors.Is(err, context.Canceled) && errors.As(context.Cause(c.Context), &by) {
		err = exitStatus(128 + int(by.signal)) // how one ends it
	}
	return errors.Join(err, p.flush())
}

// logPrinter prints entries to the streams that they came from, many of one stream
// at once.
type logPrinter struct {
	outputs        map[string]io.Writer
	times, details bool
	pending        []byte
	to             string // the stream of what is pending
}

// logTime is docker's form of an entry's time.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

func (p *logPrinter) print(e log.Entry) error {
	if e.Stream != p.to || len(p.pending) >= 64<<10 {
		if err := p.flush(); err != nil {
			return err
		}
		p.to = e.Stream
	}
	if p.times {
		p.pending = append(e.Time.AppendFormat(p.pending, logTime), ' ')
	}
	if p.details {
		p.pending = append(p.pending, ' ') // behind what --log-opt would have added
	}
	p.pending = append(p.pending, e.Log...)
	return nil
}

func (p *logPrinter) flush() error {
	w := p.outputs[p.to]
	if len(p.pending) == 0 || w == nil {
		return nil
	}
	_, err := w.Write(p.pending)
	p.pending = p.pending[:0]
	return err
}

// stepLists tells where the ids of steps are found.
const stepLists = programName + " cache ls    # lists the cached steps\n" +
	programName + " debug ls    # lists those that failed"

// stepLog prints the output of the step that the command names.
func stepLog(c *cli.Context, steps *cache.Cache) error {
	ref := c.Args().First()
	f, err := findLog(steps, ref)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; c.IsSet(name) {
			return fault.New("leave it out", "%s is the output of a step, which --%s isn't for", ref, name)
		}
	}
	_, err = io.Copy(c.App.Writer, f)
	return err
}

// findLog finds the output of a step where there is no such container.
func findLog(c *cache.Cache, id string) (*os.File, error) {
	f, err := c.FindLog(strings.TrimPrefix(id, "sha256:"))
	switch {
	case errors.Is(err, cache.ErrAmbiguous):
		return nil, fault.New("give more digits", "%w", err)
	case errors.Is(err, cache.ErrNoOutput):
		return nil, fault.New("only RUN has output", "%w", err)
	case errors.Is(err, cache.ErrNotFound):
		return nil, fault.New(programName+" ps -a       # lists the containers\n"+stepLists, "%w: %s", container.ErrUnknown, id)
	}
	return f, err
}
