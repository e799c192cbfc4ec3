package main

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/container/log"
)

// readLife reads what the container is called, and how it begins and ends.
func (r *containerRequest) readLife(c *cli.Context) (err error) {
	if err := checkContainerName(r.Name); err != nil {
		return err
	}
	if r.Restart, err = parseRestart(c.String("restart")); err != nil {
		return err
	}
	if r.Remove && r.Restart.Policy != container.RestartNo {
		return usageError(c.Command.HelpName, "Conflicting options: --restart and --rm")
	}
	if r.StopSignal = c.String("stop-signal"); r.StopSignal != "" {
		if _, err := container.ParseSignal(r.StopSignal); err != nil {
			return err
		}
	}
	if c.IsSet("stop-timeout") {
		seconds := max(c.Int("stop-timeout"), -1)
		r.StopTimeout = &seconds
	}
	if r.Log, err = log.ParseOptions(c.String("log-driver"), c.StringSlice("log-opt")); err != nil {
		return err
	}
	if r.CIDFile = c.String("cidfile"); r.CIDFile != "" {
		err = checkIDFile(r.CIDFile)
	}
	return err
}

// parseRestart reads docker's POLICY[:TIMES].
func parseRestart(text string) (r container.Restart, err error) {
	wrong := func(why string) error {
		return fault.New("write --restart no, always, unless-stopped or on-failure[:TIMES]", "invalid restart policy%s", why)
	}
	name, times, limited := strings.Cut(text, ":")
	if limited && name == "" {
		return r, wrong(" format: no policy provided before colon")
	}
	if times != "" {
		if r.Retries, err = strconv.Atoi(times); err != nil {
			return r, wrong(" format: maximum retry count must be an integer")
		}
	}
	switch r.Policy = container.Policy(name); r.Policy {
	case "":
		r.Policy = container.RestartNo
	case container.RestartOnFailure:
		if r.Retries < 0 {
			return r, wrong(": maximum retry count cannot be negative")
		}
		return r, nil
	case container.RestartNo, container.RestartAlways, container.RestartUnlessStopped:
	default:
		return r, wrong(": unknown policy '" + name + "'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'")
	}
	if r.Retries != 0 {
		return r, wrong(": maximum retry count can only be used with 'on-failure'")
	}
	return r, nil
}

// checkIDFile tells that a file for a container's id is there already.
func checkIDFile(file string) error {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.New("rm "+file, "Container ID file found, make sure the other container isn't running or delete %s", file)
}

// idFile is where a new container's id is written, so that scripts find it.
type idFile struct {
	file    *os.File // nil where none was asked for
	written bool
}

// newIDFile makes the file, which nobody else may have made before; "" is none.
func newIDFile(path string) (*idFile, error) {
	if path == "" {
		return &idFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, checkIDFile(path)
	}
	if err != nil {
		return nil, fault.New("", "failed to create the container ID file: %w", err)
	}
	return &idFile{file: f}, nil
}

// write tells the id, unless it is "" for there is none.
func (f *idFile) write(id string) error {
	if f.file == nil || id == "" {
		return nil
	}
	if _, err := f.file.WriteString(id); err != nil {
		return fault.New("", "failed to write the container ID to the file: %w", err)
	}
	f.written = true
	return nil
}

// Close removes the file again where no container came to be.
func (f *idFile) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	if !f.written {
		err = errors.Join(err, os.Remove(f.file.Name()))
	}
	return err
}
