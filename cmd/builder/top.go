package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
)

func topCommand() *cli.Command {
	return &cli.Command{
		Name:      "top",
		Category:  categoryMore,
		Usage:     "List a container's processes by the ps of this machine",
		ArgsUsage: "CONTAINER [OPTION-OF-PS...]",
		Action:    coded(top),
	}
}

// top runs ps with the options that are given, and keeps what is the container's.
func top(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s needs a container", c.Command.HelpName)
	}
	n, err := openNamed(c)
	if err != nil {
		return err
	}
	var pids []int
	err = n.ask(c.Args().First(), func(client *container.Client) error {
		pids, err = client.Processes()
		return err
	})
	if err != nil {
		return err
	}
	options := c.Args().Tail()
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(c.Context, "ps", options...).Output()
	if err != nil {
		return psFailed(err)
	}
	rows, err := processRows(string(out), pids)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 20, 1, 3, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func psFailed(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fault.New("apt install procps", "there is no ps on this machine: %w", err)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return fault.New("ps --help    # lists its options", "error running ps: %w: %s", err, said)
	}
	return fmt.Errorf("error running ps: %w", err)
}

// processRows gives ps's titles, and its rows about the processes with these
// numbers. What the last column is too wide for belongs to it.
func processRows(out string, pids []int) ([][]string, error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	titles := strings.Fields(lines[0])
	column := slices.Index(titles, "PID")
	if column < 0 {
		return nil, fault.New("ask for it too: -o pid,…", "couldn't find PID field in ps output")
	}
	rows := [][]string{titles}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		pid, err := strconv.Atoi(fields[column])
		if err != nil {
			return nil, fmt.Errorf("unexpected pid '%s': %w", fields[column], err)
		}
		if !slices.Contains(pids, pid) {
			continue
		}
		last := min(len(titles), len(fields)) - 1
		rows = append(rows, append(slices.Clone(fields[:last]), strings.Join(fields[last:], " ")))
	}
	return rows, nil
}
