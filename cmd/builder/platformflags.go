package main

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// targetPlatform reads --platform, or else its parts; the zero value where
// nothing is given.
func targetPlatform(c *cli.Context) (v1.Platform, error) {
	asked, flags := commaLists(c.StringSlice("platform")), "--platform"
	text, parts := platformParts(c)
	switch {
	case text != "" && len(asked) > 0:
		return v1.Platform{}, usageError(c.Command.HelpName, "--platform names the whole platform: it can't go with %s", parts)
	case text != "":
		asked, flags = []string{text}, parts
	}
	return onePlatform(flags, asked)
}

// onePlatform reads platforms, which can't be more than one. flags are where
// they come from.
func onePlatform(flags string, asked []string) (v1.Platform, error) {
	var given []string
	for _, text := range asked {
		p, err := platform.ParseLinux(text)
		if err != nil {
			return p, fault.At(flags, err)
		}
		if name := platform.Name(p); !slices.Contains(given, name) {
			given = append(given, name)
		}
	}
	switch len(given) {
	case 0:
		return v1.Platform{}, nil
	case 1:
		return platform.Parse(given[0])
	}
	var remedy strings.Builder
	remedy.WriteString("build one after the other, into one manifest list:")
	for _, name := range given {
		fmt.Fprintf(&remedy, "\nbuilder bud --platform %s --manifest NAME .", name)
	}
	return v1.Platform{}, fault.New(remedy.String(),
		"--platform: one index for several platforms (%s) is not supported yet", strings.Join(given, ", "))
}

// platformParts puts together what buildah's --os, --arch and --variant name;
// what isn't named is as it is here. parts are those that are given.
func platformParts(c *cli.Context) (text, parts string) {
	here := platform.Here()
	words := []string{here.OS, here.Architecture, ""}
	var given []string
	for i, name := range []string{"os", "arch", "variant"} {
		if value := c.String(name); value != "" {
			words[i] = value
			given = append(given, flagdoc.Dashed(name))
		}
	}
	if len(given) == 0 {
		return "", ""
	}
	return strings.TrimSuffix(strings.Join(words, "/"), "/"), strings.Join(given, " ")
}
