package main

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// epochEnv is the time that reproducible builds agree upon, in seconds since
// 1970.
const (
	epochEnv  = dockerfile.EpochArg
	epochFlag = "source-date-epoch"
)

// flagEmulateIDs has programs believe in ids that aren't mapped.
const flagEmulateIDs = "emulate-ids"

func budFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "give the image a `NAME`[:TAG]; may be repeated"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the Dockerfile from `PATH`, - is standard input"},
		&cli.StringSliceFlag{Name: "build-arg", Usage: "value of an ARG, `NAME[=VALUE]`, else the environment's"},
		&cli.StringFlag{Name: "context-sub-path", Hidden: true, Usage: "take the directory `PATH` of a build context that is fetched"},
		&cli.StringSliceFlag{Name: "build-context", Usage: "name a further context, `NAME=DIRECTORY|URL|…`"},
		&cli.StringSliceFlag{Name: "label", Usage: "add a label `NAME=VALUE` to the image"},
		&cli.StringFlag{Name: "target", Usage: "stop after the stage `NAME`"},
		&cli.StringSliceFlag{Name: "platform", Usage: "build for `OS/ARCH[/VARIANT]`, such as linux/arm64"},
		&cli.BoolFlag{Name: "no-cache", Usage: "execute every step, whatever is known"},
		&cli.StringSliceFlag{Name: "no-cache-filter", Usage: "execute every step of the stage `NAME`[,NAME...]; may be repeated"},
		cacheLimitFlag(),
		&cli.BoolFlag{Name: "explain", Usage: "say of every executed step why it isn't cached"},
		&cli.BoolFlag{Name: "git-modes", Hidden: true, Usage: "of a context file's mode take the executable bit only, as git does"},
		pullPolicyFlag(),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the image's id only; others: --progress tty|plain"},
		progressFlag(),
		&cli.StringFlag{Name: flagSummary, Hidden: true, Usage: "append to `FILE`, in Markdown, which steps there were, how long they took, and why"},
		&cli.StringFlag{Name: "iidfile", Usage: "write the image's id to `FILE`"},
		&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the image: oci or docker; of --check: json", Value: "oci"},
		&cli.Int64Flag{Name: "timestamp", Usage: "`SECONDS` since 1970, the time of all that's in the image"},
		&cli.Int64Flag{Name: epochFlag, Hidden: true, Usage: "the same `SECONDS`, which ARG " + epochEnv + " sees"},
		&cli.StringFlag{Name: "compression", Usage: "pack layers by `NAME`: gzip, zstd or none", Value: "gzip"},
		&cli.IntFlag{Name: "compression-level", Hidden: true, Usage: "the compression's level `N`"},
		&cli.BoolFlag{Name: "check", Usage: "say what is doubtful in the Dockerfile, and build nothing"},
		callFlag(),
		onFailureFlag(),
		&cli.IntFlag{Name: "jobs", Usage: "build at most `N` stages at once"},
	}, sandboxFlags("private, host or none; private by"), secretFlags(), grantFlags(), limitFlags("each RUN", false), registryFlags(), outputFlags(),
		namespaceFlags(), contentTrust(), granted("layers", "rm", "force-rm"),
		ignored("compress"), // of what docker's client sends to its daemon
		buildahFlags(), refusedCaches())
}

// sandboxFlags are those that bud and run have in common, with the networks that can
// be chosen.
func sandboxFlags(networks string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "network", Aliases: []string{"net"}, Usage: "`MODE`: " + networks + ": pasta, slirp4netns",
			EnvVars: []string{"BUILDER_NETWORK"},
		},
		&cli.StringSliceFlag{Name: "ulimit", Usage: "resource limit `NAME=SOFT[:HARD]`"},
		&cli.BoolFlag{Name: flagEmulateIDs, Hidden: true, Usage: "let programs have other users where only one id is mapped", EnvVars: []string{"BUILDER_EMULATE_IDS"}},
		&cli.StringFlag{Name: "shm-size", Usage: "`SIZE` of /dev/shm, such as 64m"},
		&cli.StringSliceFlag{Name: "add-host", Usage: "add `NAME:ADDRESS` to /etc/hosts"},
		&cli.StringSliceFlag{Name: "dns", Usage: "ask the name server at `ADDRESS`"},
		&cli.StringSliceFlag{Name: "dns-search", Hidden: true, Usage: "complete names by `DOMAIN`, or with . by none"},
		&cli.StringSliceFlag{Name: "dns-option", Aliases: []string{"dns-opt"}, Hidden: true, Usage: "give the resolver `OPTION`, such as ndots:2"},
	}
}

// sandboxOptions are the values of sandboxFlags.
type sandboxOptions struct {
	network  network.Choice
	ulimits  []sandbox.Ulimit
	shmSize  int64
	addHosts []string // lines of /etc/hosts
	dns      network.DNS
	emulate  bool // ids
}

func readSandboxFlags(c *cli.Context) (sandboxOptions, error) {
	o := sandboxOptions{dns: network.DNS{
		Servers: c.StringSlice("dns"), Search: c.StringSlice("dns-search"), Options: c.StringSlice("dns-option"),
	}}
	o.emulate = c.Bool(flagEmulateIDs)
	var err error
	if o.network, err = network.ParseChoice(c.String("network")); err != nil {
		return o, err
	}
	for _, server := range o.dns.Servers {
		if _, err := netip.ParseAddr(server); err != nil {
			return o, usageError(c.Command.HelpName, "--dns %q is no IP address", server)
		}
	}
	for _, text := range c.StringSlice("ulimit") {
		limit, err := sandbox.ParseUlimit(text)
		if err != nil {
			return o, err
		}
		o.ulimits = append(o.ulimits, limit)
	}
	for _, text := range c.StringSlice("add-host") {
		line, err := sandbox.ParseAddHost(text)
		if err != nil {
			return o, err
		}
		o.addHosts = append(o.addHosts, line)
	}
	if text := c.String("shm-size"); text != "" {
		if o.shmSize, err = units.RAMInBytes(text); err != nil || o.shmSize <= 0 {
			return o, usageError(c.Command.HelpName, "--shm-size %q is no size, such as 64m or 1g", text)
		}
	}
	return o, nil
}

// buildOptions turns the flags into what a build needs, and refuses what can't
// be meant.
func buildOptions(c *cli.Context) (build.Options, error) {
	var o build.Options
	s, err := readSandboxFlags(c)
	if err != nil {
		return o, err
	}
	if s.network.Mode == network.ModeShared {
		return o, fault.New("use private, pasta, slirp4netns, host or none", "--network container:%s: a build shares no container's network", s.network.Container)
	}
	o = build.Options{
		Target:     c.String("target"),
		BuildArgs:  buildArgs(c.StringSlice("build-arg")),
		Labels:     c.StringSlice("label"),
		NoCache:    c.Bool("no-cache"),
		NoCacheFor: commaLists(c.StringSlice("no-cache-filter")),
		GitModes:   c.Bool("git-modes"),
		Pull:       readPullPolicy(c) == pullAlways,
		NeverPull:  readPullPolicy(c) == pullNever,
		Jobs:       c.Int("jobs"),
		Network:    s.network, EmulateIDs: s.emulate, Ulimits: s.ulimits, ShmSize: s.shmSize, AddHosts: s.addHosts, DNS: s.dns,
	}
	if o.Platform, err = targetPlatform(c); err != nil {
		return o, err
	}
	if err := readBuildahFlags(c, &o); err != nil {
		return o, err
	}
	if err := readSecretFlags(c, &o); err != nil {
		return o, err
	}
	if err := readGrantFlags(c, &o); err != nil {
		return o, err
	}
	if o.Limits, err = readLimitFlags(c); err != nil {
		return o, err
	}
	for _, name := range c.StringSlice("tag") {
		if _, err := layout.ParseName(name); err != nil {
			return o, err
		}
		o.Tags = append(o.Tags, name)
	}
	if _, err := cacheLimit(c, ""); err != nil {
		return o, err
	}
	if o.Epoch, err = epoch(c, o.BuildArgs); err != nil {
		return o, err
	}
	if err := packing(c, &o); err != nil {
		return o, err
	}
	return o, readContext(c, &o)
}

// commaLists gives the words of lists that are separated by commas.
func commaLists(lists []string) []string {
	var words []string
	for _, list := range lists {
		for word := range strings.SplitSeq(list, ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// contextArgument is the one argument that there has to be.
func contextArgument(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", usageError(c.Command.HelpName, "%s takes one build context, not %d: %s",
			c.Command.HelpName, c.NArg(), strings.Join(c.Args().Slice(), " "))
	}
	if c.Args().First() == "" {
		return "", usageError(c.Command.HelpName, "%s needs a build context, such as . for this directory", c.Command.HelpName)
	}
	return c.Args().First(), nil
}

// buildArgs reads NAME=VALUE; a NAME alone takes the environment's value, and
// is left out where there is none.
func buildArgs(args []string) map[string]string {
	values := map[string]string{}
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		values[name] = value
	}
	return values
}

// epoch is the time that --timestamp gives to all that is in the image.
// --source-date-epoch, or else the environment, gives it as the build argument
// that it is to docker, so that instructions which declare it see it.
func epoch(c *cli.Context, args map[string]string) (*time.Time, error) {
	if _, given := args[epochEnv]; !given || c.IsSet(epochFlag) {
		text := os.Getenv(epochEnv)
		if c.IsSet(epochFlag) {
			text = strconv.FormatInt(c.Int64(epochFlag), 10)
		}
		if _, err := strconv.ParseInt(text, 10, 64); text != "" && text != dockerfile.EpochOfContext && err != nil {
			return nil, fault.New("unset it, or set it to seconds since 1970: export "+epochEnv+"=$(git log -1 --pretty=%ct)",
				"%s=%q is not a number", epochEnv, text)
		}
		if text != "" {
			args[epochEnv] = text
		}
	}
	if !c.IsSet("timestamp") {
		return nil, nil
	}
	t := time.Unix(c.Int64("timestamp"), 0).UTC()
	return &t, nil
}

// highestLevel is that of each compression; the lowest is 1.
var highestLevel = map[layer.Compression]int{layer.Gzip: 9, layer.Zstd: 22, layer.None: 0}

// packing reads how layers and config are written.
func packing(c *cli.Context, o *build.Options) error {
	o.Format, o.Compression, o.Level = layout.Format(c.String("format")), layer.Compression(c.String("compression")), c.Int("compression-level")
	if o.Format != layout.FormatOCI && o.Format != layout.FormatDocker {
		return usageError(c.Command.HelpName, "--format %q is neither oci nor docker", o.Format)
	}
	most, known := highestLevel[o.Compression]
	if !known {
		return usageError(c.Command.HelpName, "--compression %q is none of gzip, zstd, none", o.Compression)
	}
	if o.Compression == "zstd" && o.Format == layout.FormatDocker {
		return fault.New("use --format oci", "docker's image format has no zstd layers")
	}
	if c.IsSet("compression-level") && (o.Level < 1 || o.Level > most) {
		return usageError(c.Command.HelpName, "--compression-level %d: %s has levels from 1 to %d", o.Level, o.Compression, most)
	}
	return nil
}
