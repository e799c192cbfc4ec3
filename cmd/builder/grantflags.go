package main

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/mountspec"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
)

// grantFlags give every RUN of a build more, or less, than it has by itself.
func grantFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "cap-add", Usage: "give every RUN the capability `NAME`, or all; --cap-drop takes"},
		&cli.StringSliceFlag{Name: "cap-drop", Hidden: true, Usage: "take the capability `NAME` from every RUN, or all"},
		&cli.StringSliceFlag{Name: "allow", Usage: "let the Dockerfile take `NAME`: security.insecure or network.host"},
		&cli.StringSliceFlag{Name: "security-opt", Hidden: true, Usage: "confine every RUN by `OPTION`, such as seccomp=FILE"},
		&cli.StringSliceFlag{Name: "device", Hidden: true, Usage: "give every RUN the device `HOST[:PATH]`"},
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "show every RUN a directory: `HOST:PATH`[:ro]"},
	}
}

func readGrantFlags(c *cli.Context, o *build.Options) error {
	o.CapAdd, o.CapDrop = words(c.StringSlice("cap-add")), words(c.StringSlice("cap-drop"))
	if _, err := sandbox.Capabilities(o.CapAdd, o.CapDrop); err != nil {
		return err
	}
	var err error
	if o.Allow, err = build.ParseEntitlements(commaLists(c.StringSlice("allow"))); err != nil {
		return err
	}
	if o.Security, err = sandbox.ParseSecurity(c.StringSlice("security-opt")); err != nil {
		return err
	}
	for _, text := range c.StringSlice("device") {
		d, err := parseDevice(text)
		if err != nil {
			return err
		}
		o.Devices = append(o.Devices, d)
	}
	for _, text := range c.StringSlice("volume") {
		m, err := parseVolume(text)
		if err != nil {
			return err
		}
		o.Volumes = append(o.Volumes, m)
	}
	return nil
}

// words splits values that may hold several, parted by commas.
func words(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, strings.Split(v, ",")...)
	}
	return all
}

// parseVolume reads buildah's HOST:PATH[:OPTION,...].
func parseVolume(text string) (stage.HostMount, error) {
	var m stage.HostMount
	wrong := func(format string, args ...any) error {
		return fault.New("write --volume HOST-DIRECTORY:/PATH/INSIDE[:ro]", "--volume "+text+": "+format, args...)
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return m, wrong("it isn't a directory and a path inside, parted by a colon")
	}
	if !path.IsAbs(parts[1]) || path.Clean(parts[1]) == "/" {
		return m, wrong("%q is no absolute path below /", parts[1])
	}
	m.Target = path.Clean(parts[1])
	var err error
	if m.Source, err = filepath.Abs(parts[0]); err != nil {
		return m, err
	}
	if _, err := os.Stat(m.Source); err != nil {
		return m, wrong("%w", err)
	}
	if len(parts) < 3 {
		return m, nil
	}
	for _, option := range strings.Split(parts[2], ",") {
		switch option {
		case "ro":
			m.ReadOnly = true
		case "rw":
			m.ReadOnly = false
		case "z", "Z":
			if mountspec.Labelled() {
				return m, fault.NotYet("--volume with the option " + option)
			}
		case "O", "U":
			return m, fault.NotYet("--volume with the option " + option)
		default:
			return m, wrong("the option %q is neither ro nor rw", option)
		}
	}
	return m, nil
}
