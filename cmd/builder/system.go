package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/gc"
)

func systemCommand() *cli.Command {
	return &cli.Command{
		Name:     "system",
		Category: categoryMachine,
		Usage:    "Measure, prune, check, mend or remove the store",
		Subcommands: []*cli.Command{
			systemDfCommand(),
			systemPruneCommand(),
			{
				Name:  "check",
				Usage: "Verify the whole store, and tell what is wrong with it",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "repair", Usage: "make again, or drop, what isn't as it should be"},
				},
				Action: check,
			},
			{
				Name:  "reset",
				Usage: "Remove the store with all its images, containers and volumes",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "don't ask"},
				},
				Action: reset,
			},
			{Name: tidyName, Usage: "Free what removed images have left", Hidden: true, Action: tidy},
		},
	}
}

// check looks, and with --repair mends, inside the user namespace: trees can be
// packed again and removed only there.
func check(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageError(c.Command.HelpName, "%s takes no arguments", c.Command.HelpName)
	}
	if c.Bool("repair") {
		return repair(c)
	}
	return withStore(c, func(store *storage.Store) error {
		problems, complete, err := store.Collector(userns.Inside()).Check(c.Context)
		if err != nil {
			return err
		}
		dead, err := deadContainers(store)
		if err != nil {
			return err
		}
		problems = append(problems, dead...)
		var found error
		for _, p := range problems {
			note := ""
			if p.Harmless {
				note = " (harmless: it goes with one of the next commands)"
			} else {
				found = errSome
			}
			if _, err := fmt.Fprintf(c.App.Writer, "%s%s\n", p, note); err != nil {
				return err
			}
		}
		if !complete {
			if _, err := fmt.Fprintln(c.App.Writer, "Leftovers weren't looked for: the store is in use."); err != nil {
				return err
			}
		}
		damaged := tellDamaged(c.App.ErrWriter, store)
		if found == nil {
			if damaged == nil {
				_, err = fmt.Fprintln(c.App.Writer, "The store is in order.")
			}
			return errors.Join(err, damaged)
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s system check --repair mends this.\n", programName)
		return errors.Join(err, found)
	})
}

// deadContainers lists what containers left that were killed.
func deadContainers(store *storage.Store) (problems []gc.Problem, err error) {
	dirs, err := container.Dead(containersDir(store))
	for _, dir := range dirs {
		problems = append(problems, gc.Problem{Kind: gc.KindLeftover, Path: dir, What: "left by a container that was killed", Harmless: true})
	}
	return problems, err
}

// tellDamaged tells of the containers whose records can't be read, which nobody
// can write again but the user, and fails where there are some.
func tellDamaged(w io.Writer, store *storage.Store) (found error) {
	for _, f := range container.Damaged(containersDir(store)) {
		err := damaged(f.Config)
		if err == nil {
			err = fault.New(fmt.Sprintf("builder start %s    # runs it again", f.Config.Name), "container %s: %s", f.Config.Name, f.State.Damage)
		}
		tell(w, err)
		found = errSome
	}
	return found
}

// damaged tells of a container of which nobody knows how to run it, nil of others.
func damaged(config container.Config) error {
	if config.Damage == "" {
		return nil
	}
	id := config.ID[:min(len(config.ID), 12)]
	return fault.New(fmt.Sprintf("builder export %s -o FILE    # saves its files\nbuilder rm %s    # removes it", id, id), "container %s: %s", id, config.Damage)
}

func repair(c *cli.Context) error {
	if !userns.Inside() {
		return enterWithout(c)
	}
	h, err := openTrees(c)
	if err != nil {
		return err
	}
	noticeStepDowns(c, h.mapping, false)
	done, err := h.store.Collector(true).Repair(c.Context, h.snapshots)
	err = errors.Join(err, sweepContainers(c.Context, h.store))
	for _, r := range done {
		err = errors.Join(err, printRepaired(c.App.Writer, r))
	}
	damaged := tellDamaged(c.App.ErrWriter, h.store)
	if err == nil && len(done) == 0 && damaged == nil {
		_, err = fmt.Fprintln(c.App.Writer, "The store is in order.")
	}
	return errors.Join(err, damaged, h.Close())
}

func printRepaired(w io.Writer, r gc.Repaired) error {
	_, err := fmt.Fprintf(w, "%s: %s\n", r.Problem, r.Did)
	return err
}

// enterWithout goes on inside the user namespace where the store can't be, or
// isn't to be, opened before.
func enterWithout(c *cli.Context) error {
	return enterQuietly(c)
}

// enterQuietly is enterWithout for who tells of the mapping himself.
func enterQuietly(c *cli.Context, env ...string) error {
	root, err := storeRoot(c)
	if err != nil {
		return err
	}
	runDir, err := storage.DefaultRunDir(os.Geteuid())
	if err != nil {
		return err
	}
	return enter(c, nil, append(env, storage.RootEnv+"="+root, storage.RunDirEnv+"="+runDir)...)
}

// reset removes the store, of whatever format, once the user has agreed.
func reset(c *cli.Context) error {
	root, err := storeRoot(c)
	if err != nil {
		return err
	}
	if userns.Inside() {
		err := storage.Reset(c.Context, root)
		if errors.Is(err, storage.ErrNoStore) {
			return nil
		}
		return err
	}
	if !c.Bool("force") {
		if err := confirm(c, fmt.Sprintf("remove the store %s with all its images, containers and volumes", root)); err != nil {
			return err
		}
	}
	return enterWithout(c)
}

// tidyName is the command by which rmi frees trees, inside the user namespace.
const tidyName = "tidy"

func tidy(c *cli.Context) error {
	return withStore(c, func(store *storage.Store) error {
		return store.Collector(userns.Inside()).Tidy(c.Context)
	})
}
