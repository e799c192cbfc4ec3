package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
)

const flagLogfile = "logfile"

// buildahFlags are those that buildah's users bring along.
func buildahFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "os", Hidden: true, Usage: "`OS` of the platform, which is linux"},
		&cli.StringFlag{Name: "arch", Hidden: true, Usage: "`ARCH` of the platform"},
		&cli.StringFlag{Name: "variant", Hidden: true, Usage: "`VARIANT` of the platform, such as v7"},
		&cli.StringFlag{Name: "from", Hidden: true, Usage: "take `IMAGE` in place of the first FROM's"},
		&cli.StringFlag{Name: "ignorefile", Hidden: true, Usage: "read `FILE` in place of .dockerignore"},
		&cli.StringSliceFlag{Name: "env", Hidden: true, Usage: "set `NAME[=VALUE]` in every stage that is built upon an image"},
		&cli.StringSliceFlag{Name: "unsetenv", Hidden: true, Usage: "leave the variable `NAME` out of the image"},
		&cli.StringSliceFlag{Name: "unsetlabel", Hidden: true, Usage: "don't inherit the label `NAME`"},
		&cli.StringSliceFlag{Name: "build-arg-file", Hidden: true, Usage: "values of ARGs from `FILE`, one NAME=VALUE a line"},
		&cli.StringFlag{Name: "manifest", Hidden: true, Usage: "add the image to the manifest list `NAME`"},
		&cli.BoolFlag{Name: "http-proxy", Hidden: true, Value: true, Usage: "show every RUN the environment's proxies"},
		&cli.StringFlag{Name: flagLogfile, Hidden: true, Usage: "append to `FILE` what is said of the build"},
	}, granted("skip-unused-stages")...)
}

func readBuildahFlags(c *cli.Context, o *build.Options) error {
	o.From, o.IgnoreFile, o.Manifest = c.String("from"), c.String("ignorefile"), c.String("manifest")
	o.UnsetEnv, o.UnsetLabels = c.StringSlice("unsetenv"), c.StringSlice("unsetlabel")
	for _, path := range c.StringSlice("build-arg-file") {
		if err := readArgFile(path, o.BuildArgs); err != nil {
			return err
		}
	}
	o.Trust = authorities(c)
	if c.Bool("http-proxy") {
		o.Proxy = proxies(o.BuildArgs)
	}
	for _, text := range c.StringSlice("env") {
		if text == "" || text[0] == '=' {
			return usageError(c.Command.HelpName, "--env %q names no variable", text)
		}
	}
	env, err := readEnvironment(nil, c.StringSlice("env"))
	o.Env = mergeEnv(env)
	return err
}

// readArgFile adds the build arguments of a file to those of the command line,
// which win.
func readArgFile(path string, args map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fault.New("", "--build-arg-file: %w", err)
	}
	n := 0
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return fault.At(fmt.Sprintf("%s:%d: %s", path, n, line), fault.New("write NAME=VALUE, or # before a comment", "it is no build argument"))
		}
		found[name] = value
	}
	for name, value := range found {
		if _, given := args[name]; !given {
			args[name] = value
		}
	}
	return nil
}
