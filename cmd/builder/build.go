package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
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
	shell, err := shellOnFailure(c)
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
	p, err := newProgress(c, strings.Join(append([]string{"Building"}, c.StringSlice("tag")...), " "), outs.stdout)
	if err != nil {
		return err
	}
	var id digest.Digest
	if userns.Inside() {
		id, err = buildInside(c, o, outs, shell, p)
	} else {
		id, err = buildOutside(c, o, outs, p)
	}
	if unwritten := p.summary.write(err); err == nil {
		err = unwritten
	}
	annotateError(c.App.ErrWriter, err, o)
	if err != nil || id == "" {
		return err
	}
	if path := c.String("iidfile"); path != "" {
		if err := os.WriteFile(path, []byte(id), 0o644); err != nil {
			return err
		}
	}
	if p.form == progressQuiet {
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
func buildOutside(c *cli.Context, o build.Options, outs *outputs, p *progress) (digest.Digest, error) {
	mapping, err := detect(c)
	if err != nil {
		return "", err
	}
	store, err := openStore(c)
	if err != nil {
		return "", err
	}
	shown := p.display(c, true, nil)
	result, err := build.Build(c.Context, o, build.Env{Store: store, ExactOwners: mapping.Faithful()}, shown)
	if errors.Is(err, build.ErrNamespace) {
		shown.discard()
		// What this process holds of the store would keep others out.
		if err := errors.Join(store.Sweep(c.Context, false), store.Close()); err != nil {
			return "", err
		}
		if err := passStdin(o); err != nil {
			return "", err
		}
		release, err := cgroup.Claim(c.Context, o.Limits)
		if err != nil {
			return "", err
		}
		defer release()
		releaseMemory()
		return "", goOnInside(c, store, p)
	}
	err = shown.settle(err)
	if err == nil && shown.Err() == nil {
		err = finish(c, store, result, outs, p)
	}
	err = errors.Join(err, store.Close())
	return result.ID, firstOf(shown.Err(), err)
}

// goOnInside runs the command again in the namespace.
func goOnInside(c *cli.Context, store *storage.Store, p *progress) error {
	err := enter(c, nil, append(storeEnv(store), p.env()...)...)
	if err != nil && p.form == progressTTY {
		live.Restore(p.file)
	}
	return err
}

// finish gives the image away and says what was built.
func finish(c *cli.Context, store *storage.Store, result build.Result, outs *outputs, p *progress) error {
	if err := outs.deliver(c, store, result, p.out); err != nil {
		return err
	}
	return p.finish(store, outs.names, result)
}

// buildInside opens a shell, where that is asked for, in the step that failed.
func buildInside(c *cli.Context, o build.Options, outs *outputs, shell bool, p *progress) (_ digest.Digest, err error) {
	release, err := cgroup.Claim(c.Context, o.Limits)
	if err != nil {
		return "", err
	}
	defer release()
	h, err := openHost(c)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if far := farProxy(o.Proxy, o.Network.Mode); far != nil {
		tell(c.App.ErrWriter, far)
	}
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	shown := p.display(c, false, cancel)
	env := build.Env{
		Store:       h.store,
		ExactOwners: h.mapping.Faithful(),
		Snapshots:   h.snapshots,
		Sandbox:     h.isolation,
		Pull:        puller(c, h.store, shown),
		Adopt:       adopter(c, h.store),
		AsCaller:    userns.AsCaller,
	}
	result, err := build.Build(ctx, o, env, shown)
	err = shown.settle(err)
	if shell && err != nil && shown.Err() == nil && c.Err() == nil {
		err = openFailed(c, env, o, err)
	}
	if result.Forgotten {
		err = errors.Join(err, h.store.Sweep(c.Context, true))
	}
	if len(result.Made) > 0 {
		boundCache(c, h.store, result.Made)
	}
	if err == nil && shown.Err() == nil {
		err = finish(c, h.store, result, outs, p)
	}
	// A build that nobody listens to ends for that.
	return result.ID, firstOf(shown.Err(), err)
}

func firstOf(cause, err error) error {
	if cause != nil {
		return cause
	}
	return err
}
