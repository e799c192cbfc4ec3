package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/stage"
)

const flagOnFailure = "on-failure"

// onFailureFlag says what is to be done where a RUN fails.
func onFailureFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagOnFailure, Hidden: true,
		Usage: "`shell`: open one in a RUN that fails",
		Action: func(c *cli.Context, value string) error {
			if value != "shell" {
				return usageError(c.Command.HelpName, "--%s %q isn't known: it can be shell", flagOnFailure, value)
			}
			return nil
		},
	}
}

// shellOnFailure says whether a shell is to be opened. There has to be somebody
// who could use it, but for a job that nobody watches.
func shellOnFailure(c *cli.Context) (bool, error) {
	if c.String(flagOnFailure) == "" {
		return false, nil
	}
	if onTerminal() {
		return true, nil
	}
	why := fault.New("builder debug    # opens a failed step after the build", "--%s shell needs a terminal for input and output, and there is none", flagOnFailure)
	if os.Getenv("CI") == "" {
		return false, why
	}
	if !userns.Inside() {
		tell(c.App.ErrWriter, fault.New(why.Remedy, "going on without a shell where a step fails: %w", why.Err))
	}
	return false, nil
}

// openFailed tells why a build has failed and, where a step did, opens that. All
// of the build has ended: its other stages, and its output. The exit code is the
// failed step's, whatever the shell's is.
func openFailed(c *cli.Context, env build.Env, o build.Options, err error) error {
	var failed *stage.Failed
	if !errors.As(err, &failed) {
		return err
	}
	code := exitStatus(fault.Code(err))
	tell(c.App.ErrWriter, err)
	switch {
	case failed.Failure == nil:
		return errors.Join(code, fmt.Errorf("no shell can be opened, since the step's files couldn't be kept: %w", failed.Lost))
	case failed.Failure.Place == "":
		return code
	}
	printBanner(c.App.ErrWriter, "a shell in "+failed.Failure.Place, false)
	step, err := stage.OpenFailure(failed.Failure)
	if err != nil {
		return errors.Join(code, err)
	}
	err = openStep(c, env, step, build.DebugOptions{Secrets: o.Secrets, SSH: o.SSH, Proxy: o.Proxy, Trust: o.Trust, BuildArgs: o.BuildArgs})
	var left exitStatus
	if err != nil && !errors.As(err, &left) {
		return errors.Join(code, err)
	}
	return code
}
