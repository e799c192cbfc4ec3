package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
)

// Arg is one variable that an ARG instruction declares.
type Arg struct {
	Name  string
	Value string
	// Set says that there is a value: from --build-arg, the instruction's
	// default, or a declaration before the first FROM, in this order.
	Set bool
}

// Args evaluates an ARG instruction inside a stage. env is what its defaults
// are expanded with; a variable sees those declared before it in the same
// instruction.
func (f *File) Args(cmd *instructions.ArgCommand, env []string) ([]Arg, error) {
	var args []Arg
	for _, kv := range cmd.Args {
		a := Arg{Name: kv.Key}
		switch given, ok := f.buildArgs[kv.Key]; {
		case ok:
			a.Value, a.Set = given, true
		case kv.Value != nil:
			value, err := f.Expander().Word(*kv.Value, env)
			if err != nil {
				return nil, err
			}
			a.Value, a.Set = value, true
		default:
			a.Value, a.Set = f.MetaArg(kv.Key)
		}
		if a.Set {
			env = setEnv(env, a.Name, a.Value)
		}
		args = append(args, a)
	}
	return args, nil
}

// ForBuilderOnly says whether an argument is an order to BuildKit that no
// command sees: they choose what its scanner for bills of materials looks at.
func ForBuilderOnly(name string) bool {
	return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE"
}

// evalMetaArgs evaluates the ARGs above the first FROM on top of the
// predefined variables.
func (f *File) evalMetaArgs(nodes []*parser.Node, commands []any, predefined []string) error {
	f.MetaArgs = predefined
	for i, c := range commands {
		arg, ok := c.(*instructions.ArgCommand)
		if !ok {
			continue
		}
		// A variable without default or --build-arg keeps what it has.
		args, err := f.Args(arg, f.MetaArgs)
		if err != nil {
			return faultAt(place(f.Name, nodes[i].StartLine, nodes[i].Original), "", "%w", err)
		}
		for _, a := range args {
			if a.Set {
				f.MetaArgs = setEnv(f.MetaArgs, a.Name, a.Value)
			}
		}
	}
	return nil
}

// platformArgs are the variables that every Dockerfile has without declaring
// them above FROM.
func platformArgs(o Options, commands []any) []string {
	stage := o.Target
	if stage == "" {
		stage = lastStageName(commands)
	}
	build, target := orHere(o.BuildPlatform), orHere(o.Platform)
	args := []string{
		"BUILDPLATFORM=" + platform.Name(build),
		"BUILDOS=" + build.OS,
		"BUILDOSVERSION=" + build.OSVersion,
		"BUILDARCH=" + build.Architecture,
		"BUILDVARIANT=" + build.Variant,
		"TARGETPLATFORM=" + platform.Name(target),
		"TARGETOS=" + target.OS,
		"TARGETOSVERSION=" + target.OSVersion,
		"TARGETARCH=" + target.Architecture,
		"TARGETVARIANT=" + target.Variant,
		"TARGETSTAGE=" + stage,
	}
	for i, kv := range args {
		name, _, _ := strings.Cut(kv, "=")
		if given, ok := o.BuildArgs[name]; ok {
			args[i] = name + "=" + given
		}
	}
	return args
}

// lastStageName is the name of the default target, "default" where it has none.
func lastStageName(commands []any) string {
	name := ""
	for _, c := range commands {
		if s, ok := c.(*instructions.Stage); ok {
			name = s.Name
		}
	}
	if name == "" {
		return "default"
	}
	return name
}

// orHere is this machine's platform where none was given.
func orHere(p v1.Platform) v1.Platform {
	if p.OS == "" {
		return platform.Here()
	}
	return p
}

// lookup finds a variable; the last of equal names wins.
func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && shell.EqualEnvKeys(k, name) {
			return v, true
		}
	}
	return "", false
}

// setEnv gives an environment with one variable set. The one
// passed in isn't changed.
func setEnv(env []string, name, value string) []string {
	next := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if k, _, _ := strings.Cut(kv, "="); !shell.EqualEnvKeys(k, name) {
			next = append(next, kv)
		}
	}
	return append(next, name+"="+value)
}
