package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/kaniko"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/transport"
)

// executorName is by which name this program is kaniko's executor.
const executorName = "executor"

// asExecutor gives the command line of the command that kaniko's executor is here,
// where this program is called so.
func asExecutor(argv []string) []string {
	if len(argv) == 0 || filepath.Base(argv[0]) != executorName {
		return argv
	}
	return append([]string{programName, executorName}, argv[1:]...)
}

func executorCommand() *cli.Command {
	return &cli.Command{
		Name:      executorName,
		Usage:     "Build and push an image by the flags of kaniko's executor",
		ArgsUsage: " ",
		Hidden:    true,
		Flags:     kaniko.Flags(),
		Action:    executor,
	}
}

// executor builds and pushes by builder's own commands, in this process.
func executor(c *cli.Context) error {
	if c.Args().First() == "version" {
		return perform(c.Context, []string{programName, "version"}, nil)
	}
	if c.NArg() > 0 {
		return usageError(c.Command.HelpName, "%s takes no argument: %s", c.Command.HelpName, c.Args().First())
	}
	plan, err := kaniko.Read(c, os.LookupEnv)
	if err == nil {
		err = plan.CheckPlaces()
	}
	if err != nil {
		return err
	}
	e := execution{Plan: plan, globals: givenGlobals(c)}
	if !c.IsSet(flagLogLevel) {
		e.globals = append(e.globals, "--"+flagLogLevel+"="+plan.LogLevel)
	}
	return e.run(c)
}

// givenGlobals are the global flags that were given, for another command.
func givenGlobals(c *cli.Context) []string {
	var words []string
	for _, f := range c.App.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		values := []string{c.String(name)}
		if list := c.StringSlice(name); list != nil {
			values = list
		}
		for _, value := range values {
			words = append(words, "--"+name+"="+value)
		}
	}
	return words
}

// execution is a plan while it is carried out.
type execution struct {
	*kaniko.Plan
	globals []string
	dir     string // for what is this execution's alone
}

func (e *execution) run(c *cli.Context) (err error) {
	if e.dir, err = executionDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	e.say(c)
	if err := e.prepare(); err != nil {
		return err
	}
	made, err := e.build(c)
	if err != nil {
		return err
	}
	image := []string{made.Config.String()}
	if len(e.Destinations) > 0 {
		image = e.Destinations
	}
	if err := errors.Join(e.layout(c, image[0]), e.save(c, image)); err != nil {
		return err
	}
	if e.Push {
		for _, name := range e.Destinations {
			if err := e.push(c, name); err != nil {
				return err
			}
		}
	}
	return e.Files.Write(made.Digest, e.Destinations)
}

// executionDir makes a directory beside what other commands have while they run.
func executionDir() (string, error) {
	parent, err := storage.OpenRunDir() // which is nobody else's
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, executorName+"-*")
}

// say tells of flags that do nothing here.
func (e *execution) say(c *cli.Context) {
	for _, warning := range e.Warnings {
		tell(c.App.ErrWriter, errors.New(warning))
	}
	if e.LogLevel == "debug" {
		slog.SetDefault(slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}
	for _, note := range e.Notes {
		slog.Debug(note)
	}
}

// prepare makes environment and standard input what the commands are to find.
func (e *execution) prepare() error {
	env := slices.Clone(e.Env)
	if e.Registries.Conf != "" {
		file := filepath.Join(e.dir, "registries.conf")
		if err := transport.ExtendRegistries(file, e.Registries.Conf); err != nil {
			return err
		}
		env = append(env, transport.RegistriesEnv+"="+file)
	}
	if len(e.Registries.Certificates) > 0 {
		dir := filepath.Join(e.dir, "certs.d")
		for registry, c := range e.Registries.Certificates {
			if err := linkCertificate(filepath.Join(dir, registry), c); err != nil {
				return err
			}
		}
		if err := transport.CompleteCerts(dir); err != nil {
			return err
		}
		env = append(env, transport.CertsEnv+"="+dir)
	}
	for _, set := range env {
		name, value, _ := strings.Cut(set, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if e.Stdin == "" {
		return nil
	}
	f, err := os.Open(e.Stdin)
	if err != nil {
		return fault.New("", "the build context can't be read: %w", err)
	}
	defer f.Close()
	return os.NewSyscallError("dup3", unix.Dup3(int(f.Fd()), int(os.Stdin.Fd()), 0))
}

// linkCertificate puts a registry's files where certs.d has them.
func linkCertificate(dir string, c kaniko.Certificate) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, path := range map[string]string{"ca.crt": c.Authority, "client.cert": c.Client, "client.key": c.Key} {
		if path == "" {
			continue
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return fault.New("name a file in PEM form", "the certificate for %s: %w", filepath.Base(dir), err)
		}
		if err := os.Symlink(abs, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// command runs one of builder's in this process, and has it run as that in the
// user namespace too.
func (e *execution) command(ctx context.Context, words ...string) error {
	os.Args = slices.Concat([]string{programName}, e.globals, words)
	return perform(ctx, os.Args, nil)
}

func (e *execution) build(c *cli.Context) (made metadata, err error) {
	file := filepath.Join(e.dir, "metadata.json")
	words := append([]string{"bud", "--metadata-file=" + file}, e.Build...)
	if err := e.command(c.Context, words...); err != nil {
		return made, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return made, err
	}
	return made, json.Unmarshal(data, &made)
}

// layout writes the image into a directory, as the only one there.
func (e *execution) layout(c *cli.Context, image string) error {
	if e.Layout == "" {
		return nil
	}
	if err := dropOld(filepath.Join(e.Layout, "index.json")); err != nil {
		return err
	}
	return e.command(c.Context, "push", image, "oci:"+e.Layout)
}

func (e *execution) save(c *cli.Context, images []string) error {
	if e.Tar == "" {
		return nil
	}
	return e.command(c.Context, append([]string{"save", "--quiet", "--output=" + e.Tar}, images...)...)
}

// push pushes the image to one of its names.
func (e *execution) push(c *cli.Context, name string) error {
	words := slices.Concat([]string{"push"}, e.PushFlags, []string{name})
	pause := time.Second
	for try := 0; ; try++ {
		err := e.command(c.Context, words...)
		if err != nil && e.TakesImmutable && isImmutable(err) {
			tell(c.App.ErrWriter, errors.New("going on: "+name+" is there and can't change"))
			return nil
		}
		if err == nil || try >= e.Retries || c.Err() != nil {
			return err
		}
		tell(c.App.ErrWriter, fault.At("pushing once more in "+pause.String(), err))
		select {
		case <-c.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// isImmutable tells what registries say where a tag must not change.
func isImmutable(err error) bool {
	text := err.Error()
	return strings.Contains(text, "tag immutability") || strings.Contains(text, "because the repository is immutable") ||
		strings.Contains(text, "because the tag is immutable")
}
