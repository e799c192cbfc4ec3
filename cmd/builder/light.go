package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// lighten readies those commands that a command line may run: the help of all
// others needn't be written. What is an argument only, and looks like a command,
// does no harm.
func lighten(app *cli.App, args []string) {
	app.Flags = remembered(app.Flags)
	var each func(commands []*cli.Command, parent string)
	each = func(commands []*cli.Command, parent string) {
		for _, c := range commands {
			if slices.ContainsFunc(args, c.HasName) {
				name := parent + " " + c.Name
				c.CustomHelpTemplate = commandHelp(c, name)
				c.Flags = remembered(c.Flags)
				each(c.Subcommands, name)
			}
		}
	}
	each(app.Commands, programName)
}

// remembered gives flags that remember their names. The library asks for those of
// all flags whenever it looks for one, and seeks commas in them each time.
func remembered(flags []cli.Flag) []cli.Flag {
	all := slices.Clone(flags)
	for i, f := range all {
		switch names := f.Names(); f := f.(type) {
		case *cli.BoolFlag:
			all[i] = &boolFlag{f, names}
		case *cli.StringFlag:
			all[i] = &stringFlag{f, names}
		case *cli.StringSliceFlag:
			all[i] = &sliceFlag{f, names}
		}
	}
	return all
}

type boolFlag struct {
	*cli.BoolFlag
	names []string
}

func (f *boolFlag) Names() []string { return f.names }

type stringFlag struct {
	*cli.StringFlag
	names []string
}

func (f *stringFlag) Names() []string { return f.names }

type sliceFlag struct {
	*cli.StringSliceFlag
	names []string
}

func (f *sliceFlag) Names() []string { return f.names }
