package main

import (
	_ "embed" // the scripts
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts hand the words of the half-written line to completing, and offer
// what it prints.
var (
	//go:embed completion/builder.bash
	bashCompletion string
	//go:embed completion/builder.zsh
	zshCompletion string
	//go:embed completion/builder.fish
	fishCompletion string
)

func completionCommand() *cli.Command {
	c := &cli.Command{
		Name:     "completion",
		Category: categoryMore,
		Usage:    "Print the completion of a shell: bash, zsh or fish",
		Description: `
bash:  builder completion bash > ~/.local/share/bash-completion/completions/builder
zsh:   builder completion zsh > ~/.zfunc/_builder    # with ~/.zfunc in fpath
fish:  builder completion fish > ~/.config/fish/completions/builder.fish`,
	}
	for _, shell := range []struct{ name, script string }{
		{"bash", bashCompletion}, {"zsh", zshCompletion}, {"fish", fishCompletion},
	} {
		c.Subcommands = append(c.Subcommands, &cli.Command{
			Name:  shell.name,
			Usage: "Print the completion of " + shell.name,
			Action: func(c *cli.Context) error {
				_, err := fmt.Fprint(c.App.Writer, shell.script)
				return err
			},
		})
	}
	return c
}
