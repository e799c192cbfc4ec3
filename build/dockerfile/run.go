package dockerfile

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// scriptDir is where BuildKit shows a here-document that is a program.
const scriptDir = "/dev/pipes"

// Script is a file that a RUN needs in its sandbox, read-only.
type Script struct {
	Path string // absolute, such as "/dev/pipes/EOF"
	Data []byte
	Mode uint32 // permission bits
}

// DefaultShell is the SHELL of an image that sets none.
func DefaultShell() []string { return []string{"/bin/sh", "-c"} }

// RunArgs gives the argument vector of a RUN, here-documents put in. A single
// here-document that begins with #! is a program of its own: it comes back as
// the Script that the sandbox must show, nil otherwise. An empty shell stands
// for DefaultShell.
func RunArgs(cmd *instructions.RunCommand, shell []string) ([]string, *Script, error) {
	line, script, err := withHeredocs(cmd.ShellDependantCmdLine)
	if err != nil {
		return nil, nil, err
	}
	if len(line.Files) == 0 && strings.TrimSpace(strings.Join(line.CmdLine, "")) == "" {
		return nil, nil, errors.New("there is no command to run")
	}
	return CommandLine(line, shell), script, nil
}

// CommandLine gives the argument vector of CMD and ENTRYPOINT: the shell form
// has the shell in front. An empty shell stands for DefaultShell.
func CommandLine(cmd instructions.ShellDependantCmdLine, shell []string) []string {
	if !cmd.PrependShell {
		return slices.Clone(cmd.CmdLine)
	}
	if len(shell) == 0 {
		shell = DefaultShell()
	}
	return append(slices.Clone(shell), strings.Join(cmd.CmdLine, " "))
}

// withHeredocs puts a RUN's here-documents into its command. One alone is
// given to the shell as its command, so that shells which know none work too;
// in any other place the shell itself reads them.
func withHeredocs(line instructions.ShellDependantCmdLine) (instructions.ShellDependantCmdLine, *Script, error) {
	if len(line.Files) == 0 {
		return line, nil, nil
	}
	if len(line.CmdLine) != 1 || !line.PrependShell {
		return line, nil, errors.New("a here-document needs the shell form of RUN")
	}
	if parser.MustParseHeredoc(line.CmdLine[0]) == nil {
		command := line.CmdLine[0]
		for _, doc := range line.Files {
			command += "\n" + doc.Data + doc.Name
		}
		line.CmdLine = []string{command}
		return line, nil, nil
	}
	doc := line.Files[0]
	text := doc.Data
	if doc.Chomp {
		text = parser.ChompHeredocContent(text)
	}
	if !strings.HasPrefix(text, "#!") {
		line.CmdLine = []string{text}
		return line, nil, nil
	}
	script := &Script{Path: path.Join(scriptDir, path.Base(doc.Name)), Data: []byte(text), Mode: 0o755}
	line.CmdLine = []string{script.Path}
	return line, script, nil
}
