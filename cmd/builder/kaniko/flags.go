package kaniko

import (
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// Does is what comes of a flag.
type Does string

// What can come of one.
const (
	Kept     Does = "kept"
	Differs  Does = "differs"
	NoEffect Does = "no effect"
	Refused  Does = "refused"
)

// A Flag is one of kaniko's.
type Flag struct {
	Name, Short string
	Does        Does
	// Usage describes the value, in backquotes, and what it is for; Why says for
	// what reason a flag does nothing or is refused, and Remedy what helps then.
	Usage, Why, Remedy string
	// shown has it stand on the help screen.
	shown bool
	make  func(Flag) cli.Flag
}

// Flags are all of them, for the command line.
func Flags() []cli.Flag {
	var flags []cli.Flag
	for _, f := range Table() {
		flags = append(flags, f.make(f))
	}
	return flags
}

func (f Flag) aliases() []string {
	if f.Short == "" {
		return nil
	}
	return []string{f.Short}
}

func (f Flag) category() string {
	switch f.Does {
	case NoEffect:
		return flagdoc.Ignored
	case Refused:
		return flagdoc.Refused
	}
	return ""
}

// text, list, yes, no and number make flags: with one value, with several, without one
// where the default is false or true, and with a number.
func text(value string) func(Flag) cli.Flag {
	return func(f Flag) cli.Flag {
		return &cli.StringFlag{Name: f.Name, Aliases: f.aliases(), Usage: f.Usage, Value: value, Category: f.category(), Hidden: !f.shown}
	}
}

func list(f Flag) cli.Flag {
	return &cli.StringSliceFlag{Name: f.Name, Aliases: f.aliases(), Usage: f.Usage, Category: f.category(), Hidden: !f.shown}
}

func no(f Flag) cli.Flag {
	return &cli.BoolFlag{Name: f.Name, Aliases: f.aliases(), Usage: f.Usage, Category: f.category(), Hidden: !f.shown}
}

func yes(f Flag) cli.Flag {
	return &cli.BoolFlag{Name: f.Name, Aliases: f.aliases(), Usage: f.Usage, Value: true, Category: f.category(), Hidden: !f.shown}
}

func number(f Flag) cli.Flag {
	return &cli.IntFlag{Name: f.Name, Aliases: f.aliases(), Usage: f.Usage, Category: f.category(), Hidden: !f.shown}
}
