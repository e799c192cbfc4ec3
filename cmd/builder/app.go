package main

import (
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/storage/snapshot"
)

const programName = "builder"

// Categories of commands, in the order of the help screen.
const (
	categoryBuild   = "Build and run"
	categoryImages  = "Images"
	categoryMachine = "Machine"
	// categoryMore is of commands that the first screen only names.
	categoryMore = "More"
)

// newApp makes the command line. Commands print their results to stdout.
func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:     programName,
		HelpName: programName,
		Usage:    "builds container images with no daemon and no root",
		Version:  version,
		Flags:    globalFlags(),
		Commands: []*cli.Command{
			budCommand(), runCommand(), psCommand(), execCommand(), logsCommand(), stopCommand(), rmCommand(),
			cacheCommand(), debugCommand(), unshareCommand(),
			imagesCommand(), pullCommand(), pushCommand(), tagCommand(), rmiCommand(),
			importCommand(), saveCommand(), loadCommand(), exportCommand(), diffCommand(), commitCommand(), cpCommand(),
			infoCommand(), doctorCommand(), systemCommand(), versionCommand(), completionCommand(),
			imageCommand(), historyCommand(), inspectCommand(), loginCommand(), logoutCommand(), untagCommand(), manifestCommand(),
			containerCommand(),
			createCommand(), startCommand(), killCommand(), restartCommand(), pauseCommand(), unpauseCommand(),
			waitCommand(), renameCommand(), attachCommand(), topCommand(), portCommand(), updateCommand(),
			volumeCommand(),
			manCommand(), monitorCommand(), executorCommand(),
		},
		HideHelpCommand:           true, // canonical has its own
		Before:                    before,
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // main's business
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
	}
	prepare(app.Commands)
	app.CustomAppHelpTemplate = appHelp(app)
	return app
}

// prepare gives commands what all of them have alike, but for their help.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		// A "help" behind a command is an argument, such as a directory's name.
		c.HideHelpCommand = true
		c.OnUsageError = onUsageError
		if c.Action != nil && !slices.Contains(unconfigured, c.Name) {
			c.Action = configured(c.Action)
		}
		prepare(c.Subcommands)
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return usageError(c.Command.HelpName, "%w", err)
}

// Names of the global flags.
const (
	flagRoot      = "root"
	flagDriver    = "storage-driver"
	flagRuntime   = "runtime"
	flagIsolation = "isolation"
	flagLogLevel  = "log-level"
)

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagRoot, Usage: "keep the store in `DIR`", EnvVars: []string{"BUILDER_ROOT"}},
		&cli.StringFlag{
			Name: flagDriver, Usage: "`NAME`: fuse-overlayfs, overlay or vfs",
			EnvVars: []string{"BUILDER_STORAGE_DRIVER"},
		},
		&cli.StringFlag{
			Name: flagRuntime, Usage: "run containers by `NAME`: crun or runc, or a path",
			EnvVars: []string{"BUILDER_RUNTIME"},
		},
		&cli.StringFlag{
			Name: flagIsolation, Usage: "`LEVEL` that keeps containers apart: oci, chroot, any or none",
			EnvVars: []string{"BUILDER_ISOLATION"},
		},
		&cli.StringSliceFlag{
			Name: flagCA, Usage: "trust the certificate authority in `FILE` too, and have containers do so",
			EnvVars: []string{"BUILDER_CA"},
		},
		&cli.StringFlag{Name: flagLogLevel, Usage: "`LEVEL`: debug, info, warn or error", Value: "warn"},
	}
}

// before settles what every command relies on.
func before(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String(flagLogLevel))); err != nil {
		return usageError(programName, "--%s %q is none of debug, info, warn, error", flagLogLevel, c.String(flagLogLevel))
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: level})))
	if c.App.Metadata == nil {
		c.App.Metadata = map[string]any{}
	}
	c.App.Metadata[libraryKey] = newLibraryLog(c.App.ErrWriter, level <= slog.LevelDebug)
	if err := trustAuthorities(c); err != nil {
		return err
	}
	if _, err := isolation.Parse(c.String(flagIsolation)); err != nil {
		return fault.At("--"+flagIsolation, err)
	}
	driver := c.String(flagDriver)
	if snapshot.Driver(driver) == snapshot.Stacked {
		return nil // as a container's monitor is told of one made without a namespace
	}
	return fault.At("--"+flagDriver, checkDriver(driver))
}

// askedIsolation is what the user asks for; before has looked at it.
func askedIsolation(c *cli.Context) isolation.Asked {
	asked, _ := isolation.Parse(c.String(flagIsolation))
	return asked
}

// later declares flags of docker's or buildah's that builder will know one day.
// Until then they are refused: silence would promise what isn't done.
func later(names ...string) []cli.Flag {
	var flags []cli.Flag
	for _, name := range names {
		flags = append(flags, &cli.StringSliceFlag{
			Name: name, Hidden: true, Category: flagdoc.Refused,
			Action: func(*cli.Context, []string) error { return fault.NotYet(flagdoc.Dashed(name)) },
		})
	}
	return flags
}

// laterBools is later for flags without a value. Their negation is what
// builder does.
func laterBools(names ...string) []cli.Flag {
	return boolsOnly(false, names)
}

// granted declares flags that ask for what builder always does.
func granted(names ...string) []cli.Flag {
	return boolsOnly(true, names)
}

// ignored declares flags that mean nothing here, whether they are given or not.
func ignored(names ...string) []cli.Flag {
	var flags []cli.Flag
	for _, name := range names {
		flags = append(flags, &cli.BoolFlag{Name: name, Hidden: true, Category: flagdoc.Ignored})
	}
	return flags
}

func boolsOnly(accepted bool, names []string) []cli.Flag {
	category := flagdoc.Refused
	if accepted {
		category = flagdoc.Granted
	}
	var flags []cli.Flag
	for _, name := range names {
		flags = append(flags, &cli.BoolFlag{
			Name: name, Hidden: true, Category: category,
			Action: func(_ *cli.Context, value bool) error {
				if value == accepted {
					return nil
				}
				if value {
					return fault.NotYet(flagdoc.Dashed(name))
				}
				return fault.NotYet(flagdoc.Dashed(name) + "=false")
			},
		})
	}
	return flags
}

// isTerminal tells whether f is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
