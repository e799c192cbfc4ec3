package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/settings"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/snapshot"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:     "version",
		Category: categoryMore,
		Usage:    "Tell the version",
		Action: func(c *cli.Context) error {
			return format.Rows(c.App.Writer, [][]string{
				{"Version:", version},
				{"Commit:", commit},
				{"Go version:", runtime.Version()},
				{"OS/Arch:", runtime.GOOS + "/" + runtime.GOARCH},
			})
		},
	}
}

func infoCommand() *cli.Command {
	return &cli.Command{
		Name:     "info",
		Category: categoryMachine,
		Usage:    "Tell what builder uses here, why, and what would be better",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`FORMAT`: text or json", Value: "text"},
		},
		Action: info,
	}
}

// choice is one of the things that builder has found out and settled.
type choice struct {
	Value  string `json:"value"`
	Why    string `json:"why"`
	Better string `json:"better,omitempty"`
}

// machineInfo is all that info prints.
type machineInfo struct {
	Version   string `json:"version"`
	Root      string `json:"root"`
	RunDir    string `json:"run_dir"`
	Driver    choice `json:"storage_driver"`
	Isolation choice `json:"isolation"`
	Runtime   choice `json:"runtime"`
	Network   choice `json:"network"`
	Mapping   choice `json:"mapping"`
}

// info looks from inside the user namespace where there can be one: only there
// it shows whether the kernel mounts what it is asked to.
func info(c *cli.Context) error {
	if format := c.String("format"); format != "text" && format != "json" {
		return fault.NotYet("--format " + format)
	}
	if userns.Inside() {
		mapping, err := userns.Current()
		if err != nil {
			return err
		}
		return examine(c, mapping, nil)
	}
	mapping, err := detect(c)
	if err == nil {
		err = enterQuietly(c)
	}
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return err
	}
	return examine(c, mapping, err)
}

// examine finds out everything and prints it. forbidden is why there is no user
// namespace.
func examine(c *cli.Context, mapping userns.Mapping, forbidden error) error {
	return withStore(c, func(store *storage.Store) error {
		return printInfo(c, machineInfo{
			Version:   version,
			Root:      store.Root(),
			RunDir:    store.RunDir(),
			Driver:    driverChoice(c, store, mapping, forbidden),
			Isolation: isolationChoice(c, store, forbidden),
			Runtime:   runtimeChoice(c, store, forbidden),
			Network:   networkChoice(forbidden),
			Mapping:   mappingChoice(mapping, forbidden),
		})
	})
}

func driverChoice(c *cli.Context, store *storage.Store, m userns.Mapping, forbidden error) choice {
	if forbidden != nil {
		return choice{Value: "none", Why: "nothing can be mounted outside a user namespace"}
	}
	tried, err := candidates(store, m, c.String(flagDriver))
	if err != nil {
		return missing(err)
	}
	if lack := userns.Lack(); lack != nil && !userns.MountNamespace() {
		return choice{Value: string(tried.drivers[0]), Why: "nothing can be mounted without a namespace", Better: remedyLine(lack)}
	}
	native := probeNative(store)
	chosen := choice{Value: string(tried.drivers[0])}
	switch named := c.String(flagDriver) != ""; {
	case named:
		chosen.Why = askedFor(flagDriver)
	case tried.lack == nil:
		chosen.Why = "the default: it works on every kernel that has FUSE"
	case native != nil:
		chosen = choice{Value: string(snapshot.VFS), Why: "there is neither FUSE nor native overlay"}
	default:
		chosen.Why = tried.lack.Error()
	}
	switch {
	case native == nil && chosen.Value != string(snapshot.Overlay):
		chosen.Better = "native overlay works here and is faster: --" + flagDriver + " overlay"
	case chosen.Value == string(snapshot.VFS) && tried.lack != nil:
		chosen.Better = remedyLine(tried.lack)
	}
	return chosen
}

// askedFor tells the ways in which the user may have made a choice.
func askedFor(flag string) string {
	return fmt.Sprintf("asked for by --%s, %s or the configuration", flag, settings.Variable(flag))
}

func isolationChoice(c *cli.Context, store *storage.Store, forbidden error) choice {
	if forbidden != nil {
		return missing(forbidden)
	}
	found := newIsolation(c, store)
	level, why, err := found.Level()
	if err != nil {
		return missing(err)
	}
	chosen := choice{Value: string(level)}
	if weak := found.Weakness(); weak != "" {
		chosen.Value += " (weak: " + weak + ")"
	}
	switch {
	case why != nil:
		chosen.Why, chosen.Better = why.Error(), remedyLine(why)
		return chosen
	case level == isolation.Chroot:
		chosen.Why = askedFor("isolation")
		return chosen
	case userns.PIDNamespace():
		return choice{Value: "oci", Why: "user, mount and pid namespaces can be made, and a fresh /proc mounted"}
	}
	return choice{
		Value: "oci, without a pid namespace", Why: userns.StepDown(),
		Better: remedyLine(doctor.PIDNamespace(userns.StepDown())),
	}
}

func runtimeChoice(c *cli.Context, store *storage.Store, forbidden error) choice {
	name := c.String(flagRuntime)
	found, err := sandbox.FindRuntime(name)
	if err != nil {
		return missing(err)
	}
	var why *fault.Error
	if forbidden == nil {
		if used, because, ok := newIsolation(c, store).Runtime(); ok {
			found, why = used, because
		}
	}
	if found, err = found.WithVersion(); err != nil {
		return missing(err)
	}
	chosen := choice{Value: fmt.Sprintf("%s %s (%s)", found.Name, found.Version, found.Path), Why: "crun is the fastest"}
	switch {
	case why != nil:
		chosen.Why, chosen.Better = why.Error(), remedyLine(why)
	case name != "":
		chosen.Why = askedFor(flagRuntime)
	case found.Name != "crun":
		chosen.Why, chosen.Better = "crun isn't installed", "crun starts in half the time: "+doctor.Install("crun")
	}
	return chosen
}

func networkChoice(forbidden error) choice {
	if forbidden != nil {
		return missing(forbidden)
	}
	asked := configuredNetwork()
	asking := fmt.Sprintf("asked for by %s or the configuration", settings.Variable("network"))
	switch asked.Mode {
	case network.ModeHost, network.ModeNone:
		return choice{Value: string(asked.Mode), Why: asking}
	case network.ModeShared:
		return choice{Value: "container:" + asked.Container, Why: asking + "; a build can't share it", Better: "let a build have another one: builder bud --network private"}
	}
	helper, path, lack := network.Carrier(asked.Helper)
	chosen := choice{Value: fmt.Sprintf("private, by %s (%s)", helper, path)}
	switch {
	case lack != nil && asked.Mode == network.ModePrivate:
		return missing(fmt.Errorf("a private one is %s: %w", asking, lack))
	case lack != nil:
		return choice{Value: string(network.ModeHost), Why: lack.Error(), Better: remedyLine(lack)}
	case asked.Mode == network.ModePrivate:
		chosen.Why = asking
	case helper == "pasta":
		chosen.Why = "pasta is the fastest helper"
	default:
		chosen.Why, chosen.Better = "pasta isn't installed", "pasta is faster: "+doctor.Install("pasta")
	}
	return chosen
}

func mappingChoice(m userns.Mapping, forbidden error) choice {
	if forbidden != nil { // there would be these ids, were there a namespace
		return missing(forbidden)
	}
	var ranges []string
	var ids int
	for _, r := range m.UIDs {
		ids += int(r.Size)
		ranges = append(ranges, fmt.Sprintf("%d-%d are %d-%d here", r.ContainerID, r.ContainerID+r.Size-1, r.HostID, r.HostID+r.Size-1))
	}
	chosen := choice{Value: fmt.Sprintf("%s, %d ids: %s", m.Kind, ids, strings.Join(ranges, ", "))}
	switch m.Kind {
	case userns.KindSelf:
		chosen.Why = "this process is root of a user namespace already, and maps its ids onto themselves"
	case userns.KindRange:
		chosen.Why = "the ranges stand in /etc/subuid and /etc/subgid"
	case userns.KindHost:
		chosen = choice{Value: "none: root's own ids", Why: "there is no user namespace"}
	case userns.KindOwn:
		chosen = choice{Value: "none: your own id alone", Why: "there is no user namespace: owners are kept aside"}
	case userns.KindSingle:
		chosen.Why = "no subordinate ids can be had: owners are kept aside, and a RUN can't change them"
	}
	if m.Notice != nil {
		chosen.Why, chosen.Better = m.Notice.Error(), remedyLine(m.Notice)
	}
	return chosen
}

// missing is a choice that couldn't be made.
func missing(err error) choice {
	return choice{Value: "none", Why: err.Error(), Better: remedyLine(err)}
}

// remedyLine gives a remedy on one line. Of one that is longer, such as what a pod's
// manifest is to say, doctor shows how it stands.
func remedyLine(err error) string {
	remedy := strings.TrimSpace(fault.Remedy(err))
	if strings.Count(remedy, "\n") > 3 {
		return seeDoctor
	}
	return strings.ReplaceAll(remedy, "\n", "; ")
}

func printInfo(c *cli.Context, i machineInfo) error {
	if c.String("format") == "json" {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(i)
	}
	var b strings.Builder
	line(&b, "Version", i.Version)
	line(&b, "Store", i.Root)
	line(&b, "Run directory", i.RunDir)
	for _, c := range []struct {
		name string
		choice
	}{
		{"Storage driver", i.Driver},
		{"Isolation", i.Isolation},
		{"Runtime", i.Runtime},
		{"Network", i.Network},
		{"Mapping", i.Mapping},
	} {
		line(&b, c.name, c.Value)
		line(&b, "  because", c.Why)
		if c.Better != "" {
			line(&b, "  better", c.Better)
		}
	}
	_, err := io.WriteString(c.App.Writer, b.String())
	return err
}

func line(b *strings.Builder, name, value string) {
	fmt.Fprintf(b, "%-16s %s\n", name+":", value)
}
