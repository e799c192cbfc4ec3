package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
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

// completesArgument tells whether a shell asks how a word behind "--" goes on.
// There is nothing to offer, and the library, which knows no completion there,
// would execute the half-written line.
func completesArgument(argv []string) bool {
	last := len(argv) - 1
	return last > 0 && argv[last] == completing && slices.Contains(argv[:last], "--")
}

// completeImages offers flags, and then the images' names.
func completeImages(c *cli.Context) {
	cli.DefaultCompleteWithFlags(c.Command)(c)
	store, err := storage.Open(c.Context, storage.Options{Root: c.String(flagRoot), NoCreate: true})
	if err != nil {
		return
	}
	defer func() { _ = store.Close() }()
	images, err := store.Layout().List()
	if err != nil {
		return
	}
	for _, img := range images {
		if img.Name != "" && !strings.Contains(img.Name, "@") {
			_, _ = fmt.Fprintln(c.App.Writer, layout.Familiar(img.Name))
		}
	}
}

// The scripts ask the program itself, by the library's way: the words so far,
// and a last one that says that this is for completion. Where it has nothing to
// offer, files are offered.
const (
	bashCompletion = `# bash completion of builder
_builder() {
    local cur=${COMP_WORDS[COMP_CWORD]} words
    words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ $cur == -* ]] && words+=("$cur")
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
    [[ $(type -t __ltrim_colon_completions) == function ]] && __ltrim_colon_completions "$cur"
    return 0
}
complete -o bashdefault -o default -F _builder builder
`
	zshCompletion = `#compdef builder
_builder() {
    local -a offers
    local cur=${words[CURRENT]}
    local -a line=("${(@)words[1,CURRENT-1]}")
    [[ $cur == -* ]] && line+=("$cur")
    offers=("${(@f)$("${line[@]}" --generate-bash-completion 2>/dev/null)}")
    if [[ -n ${offers[1]} ]]; then
        compadd -- "${offers[@]}"
    else
        _files
    fi
}
compdef _builder builder
`
	fishCompletion = `# fish completion of builder
function __builder_offers
    set -l line (commandline -opc)
    set -l cur (commandline -ct)
    string match -q -- '-*' $cur; and set -a line $cur
    $line --generate-bash-completion 2>/dev/null
end
complete -c builder -a '(__builder_offers)'
`
)
