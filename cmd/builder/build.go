package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/userns"
)

func budCommand() *cli.Command {
	return &cli.Command{
		Name:      "bud",
		Aliases:   []string{"build"},
		Category:  categoryBuild,
		Usage:     "Build an image from a Dockerfile",
		ArgsUsage: "DIRECTORY|URL|-",
		Flags:     budFlags(),
		Action:    bud,
	}
}

// bud builds an image. Outside the user namespace only what is wholly cached
// can be had, and at no cost; where a step has to be executed, the same
// command runs again inside.
func bud(c *cli.Context) error {
	if c.Bool("check") {
		return checkDockerfile(c)
	}
	o, err := buildOptions(c)
	if err != nil {
		return err
	}
	outs, err := readOutputs(c, &o)
	if err != nil {
		return err
	}
	if err := dropOld(c.String("iidfile"), outs.metadata); err != nil {
		return err
	}
	var id digest.Digest
	if userns.Inside() {
		id, err = buildInside(c, o, outs)
	} else {
		id, err = buildOutside(c, o, outs)
	}
	if err != nil || id == "" {
		return err
	}
	if path := c.String("iidfile"); path != "" {
		if err := os.WriteFile(path, []byte(id), 0o644); err != nil {
			return err
		}
	}
	if c.Bool("quiet") {
		out := c.App.Writer
		if outs.stdout {
			out = c.App.ErrWriter
		}
		_, err = fmt.Fprintln(out, id)
	}
	return err
}

// buildOutside gives no id where the build went on inside, and was finished
// there.
func buildOutside(c *cli.Context, o build.Options, outs *outputs) (digest.Digest, error) {
	mapping, err := userns.Detect()
	if err != nil {
		return "", err
	}
	store, err := openStore(c)
	if err != nil {
		return "", err
	}
	var events recording
	result, err := build.Build(c.Context, o, build.Env{Store: store, ExactOwners: mapping.Exact()}, &events)
	if errors.Is(err, build.ErrNamespace) {
		// What this process holds of the store would keep others out.
		if err := errors.Join(store.Sweep(c.Context, false), store.Close()); err != nil {
			return "", err
		}
		if err := passStdin(o); err != nil {
			return "", err
		}
		release, err := cgroup.Claim(o.Limits)
		if err != nil {
			return "", err
		}
		defer release()
		notice(c.App.ErrWriter, mapping)
		return "", enter(c, nil, storeEnv(store)...)
	}
	lines := newProgress(c, outs)
	events.replay(lines)
	if err == nil && lines.Err() == nil {
		err = outs.deliver(c, store, result, lines.out)
	}
	err = errors.Join(err, store.Close())
	return result.ID, firstOf(lines.Err(), err)
}

func buildInside(c *cli.Context, o build.Options, outs *outputs) (_ digest.Digest, err error) {
	release, err := cgroup.Claim(o.Limits)
	if err != nil {
		return "", err
	}
	defer release()
	h, err := openHost(c)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	lines := newProgress(c, outs)
	lines.broken = cancel
	env := build.Env{
		Store:       h.store,
		ExactOwners: h.mapping.Exact(),
		Snapshots:   h.snapshots,
		Sandbox:     h.sandbox,
		Pull:        puller(c, h.store, lines.out),
		Adopt:       adopter(c, h.store),
		AsCaller:    userns.AsCaller,
	}
	result, err := build.Build(ctx, o, env, lines)
	if len(result.Made) > 0 {
		boundCache(c, h.store, result.Made)
	}
	if err == nil {
		err = outs.deliver(c, h.store, result, lines.out)
	}
	// A build that nobody listens to ends for that.
	return result.ID, firstOf(lines.Err(), err)
}

func firstOf(cause, err error) error {
	if cause != nil {
		return cause
	}
	return err
}

// newProgress prints steps to the standard output, or to the other one where
// that takes a result, and to nobody with --quiet.
func newProgress(c *cli.Context, outs *outputs) *progress {
	p := &progress{out: c.App.Writer, notes: c.App.ErrWriter, explain: c.Bool("explain")}
	if outs.stdout {
		p.out = c.App.ErrWriter
	}
	if c.Bool("quiet") {
		p.out = io.Discard
	}
	return p
}
