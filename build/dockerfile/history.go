package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// layerMark ends created_by of the instructions that BuildKit runs.
const layerMark = " # buildkit"

// Facts are what history tells of an instruction beyond its own words.
type Facts struct {
	// Args is the argument vector of RUN, CMD and ENTRYPOINT, shell included.
	Args []string
	// BuildArgs are the stage's ARGs up to a RUN as "KEY=value", "KEY=" where
	// they have no value.
	BuildArgs []string
	// Declared is what an ARG declares; see File.Args.
	Declared []Arg
	// Dir is the resulting absolute directory of WORKDIR.
	Dir string
}

// CreatedBy gives history's created_by of an expanded instruction, in the form
// that BuildKit writes; "" for ONBUILD, which history doesn't mention.
func CreatedBy(cmd instructions.Command, f Facts) string {
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		return "RUN " + strings.Join(append(countedArgs(f.BuildArgs), f.Args...), " ") + layerMark
	case *instructions.CopyCommand:
		return copied("COPY", c.SourcesAndDest, c.Parents, c.Chown, c.Chmod)
	case *instructions.AddCommand:
		return copied("ADD", c.SourcesAndDest, false, c.Chown, c.Chmod)
	case *instructions.WorkdirCommand:
		return "WORKDIR " + f.Dir
	case *instructions.EnvCommand:
		return pairs("ENV", c.Env)
	case *instructions.LabelCommand:
		return pairs("LABEL", c.Labels)
	case *instructions.ArgCommand:
		return declared(f.Declared)
	case *instructions.CmdCommand:
		return fmt.Sprintf("CMD %q", f.Args)
	case *instructions.EntrypointCommand:
		return fmt.Sprintf("ENTRYPOINT %q", f.Args)
	case *instructions.HealthCheckCommand:
		return fmt.Sprintf("HEALTHCHECK %q", c.Health)
	case *instructions.ExposeCommand:
		ports, err := ExposedPorts(c)
		if err != nil {
			ports = c.Ports
		}
		return fmt.Sprintf("EXPOSE %v", ports)
	case *instructions.UserCommand:
		return "USER " + c.User
	case *instructions.VolumeCommand:
		return fmt.Sprintf("VOLUME %v", c.Volumes)
	case *instructions.StopSignalCommand:
		return "STOPSIGNAL " + c.Signal
	case *instructions.ShellCommand:
		return fmt.Sprintf("SHELL %v", c.Shell)
	case *instructions.MaintainerCommand:
		return "MAINTAINER " + c.Maintainer
	}
	return ""
}

// countedArgs is "|2 A=b C=d", of equal names the last; nil for none.
func countedArgs(buildArgs []string) []string {
	var names, args []string
	for _, kv := range buildArgs {
		name, _, _ := strings.Cut(kv, "=")
		if i := slices.Index(names, name); i >= 0 {
			args[i] = kv
			continue
		}
		names, args = append(names, name), append(args, kv)
	}
	if len(args) == 0 {
		return nil
	}
	return append([]string{fmt.Sprintf("|%d", len(args))}, args...)
}

func copied(name string, s instructions.SourcesAndDest, parents bool, chown, chmod string) string {
	words := []string{name}
	if parents {
		words = append(words, "--parents")
	}
	if chown != "" {
		words = append(words, "--chown="+chown)
	}
	if chmod != "" {
		words = append(words, "--chmod="+chmod)
	}
	words = append(words, s.SourcePaths...)
	for _, doc := range s.SourceContents {
		words = append(words, "<<"+doc.Path)
	}
	return strings.Join(append(words, s.DestPath), " ") + layerMark
}

func pairs(name string, kvs instructions.KeyValuePairs) string {
	words := []string{name}
	for _, kv := range kvs {
		words = append(words, kv.String())
	}
	return strings.Join(words, " ")
}

func declared(args []Arg) string {
	words := []string{"ARG"}
	for _, a := range args {
		if a.Set {
			a.Name += "=" + a.Value
		}
		words = append(words, a.Name)
	}
	return strings.Join(words, " ")
}
