package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/flagdoc"
)

// canonical rewrites a command line to a form that the flag package reads as
// docker's users mean it: flags stand before all arguments, each with its
// value behind "=", so that they may be written anywhere, bundled ("-it") and
// joined to their values ("-tnginx"). Global flags may stand on either side of
// the command. What follows the image of `run`, and the command of `unshare`,
// isn't ours to read. The "--" of `debug` is kept among its arguments.
//
// Unknown commands and flags are told here, with the one perhaps meant.
func canonical(app *cli.App, argv []string) ([]string, error) {
	if len(argv) == 0 {
		return argv, nil
	}
	line := commandLine{levels: []*level{{words: []string{argv[0]}, flags: globalOptions(app)}}, commands: app.Commands}
	if err := line.read(argv[1:]); err != nil {
		return nil, err
	}
	return line.words(), nil
}

// globalOptions are the flags that stand on either side of every command.
func globalOptions(app *cli.App) []cli.Flag {
	return slices.Concat(app.Flags, []cli.Flag{cli.HelpFlag, cli.VersionFlag})
}

// commandLine is a command line while it is read.
type commandLine struct {
	// levels are the program and each command beneath it.
	levels []*level
	// commands may come next; where there are none, arguments come.
	commands []*cli.Command
	// arguments are those of the innermost command.
	arguments []string
	// help was asked for by "help COMMAND".
	help bool
	// trailing says that no flag of ours follows the first argument.
	trailing bool
	// arguable says that the innermost command takes arguments where no command
	// beneath it is named, and keeps a "--" among them.
	arguable bool
	// ended says that no flag of ours follows, as after "--".
	ended bool
	// wanting is the flag whose value would be the next word of an unfinished
	// line.
	wanting cli.Flag
}

// level is the program's or one command's part of a command line.
type level struct {
	words []string // its name and its flags, canonical
	flags []cli.Flag
	help  bool
	// called has the name by which each flag was used first: the flag package
	// takes no two of one flag.
	called map[cli.Flag]string
}

func (l *commandLine) read(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			if l.arguable {
				l.arguments = append(l.arguments, arg)
			}
			l.arguments = append(l.arguments, args...)
			args, l.ended = nil, true
		case strings.HasPrefix(arg, "--"):
			args, err = l.long(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = l.short(arg[1:], args)
		case len(l.commands) > 0:
			err = l.command(arg)
		default:
			l.arguments = append(l.arguments, arg)
			if l.trailing {
				l.arguments = append(l.arguments, args...)
				args, l.ended = nil, true
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// words puts the line together again. An argument besides --help would be
// taken for a topic.
func (l *commandLine) words() []string {
	var words []string
	for _, level := range l.levels {
		words = append(words, level.words...)
	}
	if l.help {
		return append(words, "--help=true")
	}
	if len(l.arguments) == 0 || l.levels[len(l.levels)-1].help {
		return words
	}
	return append(append(words, "--"), l.arguments...)
}

func (l *commandLine) name() string {
	names := []string{programName}
	for _, level := range l.levels[1:] {
		names = append(names, level.words[0])
	}
	return strings.Join(names, " ")
}

func (l *commandLine) command(name string) error {
	i := slices.IndexFunc(l.commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		if l.arguable {
			l.arguments, l.commands = append(l.arguments, name), nil
			return nil
		}
		if name == "help" {
			l.help = true
			return nil
		}
		return unknownCommand(l.name(), name, l.commands)
	}
	c := l.commands[i]
	flags := c.Flags
	if !c.HideHelp {
		flags = slices.Concat(flags, []cli.Flag{cli.HelpFlag})
	}
	l.levels = append(l.levels, &level{words: []string{name}, flags: flags})
	l.commands = c.Subcommands
	l.trailing = slices.Contains(trailingCommands, c.Name)
	l.arguable = len(c.Subcommands) > 0 && c.ArgsUsage != ""
	return nil
}

// trailingCommands run a command of the user's, whose flags are its own.
var trailingCommands = []string{"run", "create", "exec", "top", "unshare"}

// long reads --NAME, --NAME=VALUE or --NAME VALUE.
func (l *commandLine) long(arg string, rest []string) ([]string, error) {
	name, value, joined := strings.Cut(arg, "=")
	level, flag := l.find(name)
	switch {
	case level == nil || len(name) < 2:
		return nil, l.unknownFlag("--" + name)
	case joined:
	case !takesValue(flag):
		value = "true"
	case len(rest) == 0:
		l.wanting = flag
		return nil, usageError(l.name(), "flag needs an argument: --%s", name)
	default:
		value, rest = rest[0], rest[1:]
	}
	level.add(flag, name, value)
	return rest, nil
}

// short reads -N, -NVALUE, -N=VALUE, -N VALUE, or several of those without a
// value in one word.
func (l *commandLine) short(arg string, rest []string) ([]string, error) {
	for i, r := range arg {
		name, after := string(r), arg[i+len(string(r)):]
		level, flag := l.find(name)
		value, joined := strings.CutPrefix(after, "=")
		switch {
		case level == nil:
			return nil, l.unknownFlag("-" + arg)
		case joined:
		case !takesValue(flag):
			level.add(flag, name, "true")
			continue
		case after == "":
			if len(rest) == 0 {
				l.wanting = flag
				return nil, usageError(l.name(), "flag needs an argument: -%s", name)
			}
			value, rest = rest[0], rest[1:]
		}
		level.add(flag, name, value)
		return rest, nil
	}
	return rest, nil
}

// find gives the innermost level that has the flag.
func (l *commandLine) find(name string) (*level, cli.Flag) {
	for _, level := range slices.Backward(l.levels) {
		for _, f := range level.flags {
			if slices.Contains(f.Names(), name) {
				return level, f
			}
		}
	}
	return nil, nil
}

func (l *commandLine) unknownFlag(flag string) error {
	var names []string
	for _, level := range l.levels {
		for _, f := range level.flags {
			for _, name := range f.Names() {
				names = append(names, flagdoc.Dashed(name))
			}
		}
	}
	return unknownFlag(l.name(), flag, names)
}

func (l *level) add(f cli.Flag, name, value string) {
	if first, ok := l.called[f]; ok {
		name = first
	} else {
		if l.called == nil {
			l.called = map[cli.Flag]string{}
		}
		l.called[f] = name
	}
	l.words = append(l.words, flagdoc.Dashed(name)+"="+value)
	l.help = l.help || slices.Contains(f.Names(), "help")
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}
