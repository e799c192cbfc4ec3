package build

import (
	"fmt"
	"path"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
)

// translate turns an instruction of the Dockerfile into one that a stage
// executes: its words are expanded in the state that it starts from.
func (b *build) translate(s *dockerfile.Stage, st *stage.State, in dockerfile.Instruction) (stage.Instruction, error) {
	cmd, err := b.file.Expander().Command(in.Cmd, st.Env())
	if err != nil {
		return nil, err
	}
	if err := b.check(in, cmd); err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		return b.run(st, in, c)
	case *instructions.CopyCommand:
		return b.copy(s, in, c), nil
	case *instructions.AddCommand:
		return b.add(s, in, c)
	case *instructions.WorkdirCommand:
		return workdir(st, in, c), nil
	case *instructions.ArgCommand:
		return b.arg(st, c)
	}
	return change(st, cmd)
}

func (b *build) run(st *stage.State, in dockerfile.Instruction, c *instructions.RunCommand) (stage.Instruction, error) {
	args, script, err := dockerfile.RunArgs(c, st.Config.Config.Shell)
	if err != nil {
		return nil, err
	}
	run := stage.Run{
		Args:        args,
		Instruction: in.Original,
		CreatedBy:   dockerfile.CreatedBy(c, dockerfile.Facts{Args: args, BuildArgs: st.BuildArgs()}),
	}
	if run.Mounts, err = b.mounts(st, in, c); err != nil {
		return nil, err
	}
	if script != nil {
		run.Script = &stage.Script{Path: script.Path, Data: script.Data, Mode: script.Mode}
	}
	switch instructions.GetNetwork(c) {
	case instructions.NetworkNone:
		run.Network = network.ModeNone
	case instructions.NetworkHost:
		run.Network = network.ModeHost
	}
	run.Insecure = isInsecure(c)
	return run, nil
}

func (b *build) copy(s *dockerfile.Stage, in dockerfile.Instruction, c *instructions.CopyCommand) stage.Instruction {
	return stage.Copy{
		Verb: "COPY", From: b.source(in), Sources: c.SourcePaths, Contents: contents(c.SourceContents),
		Dest: c.DestPath, Chown: c.Chown, Chmod: c.Chmod, Exclude: c.ExcludePatterns, Parents: c.Parents,
		Link: c.Link, Last: b.isLast(s, in),
		Instruction: in.Original, CreatedBy: dockerfile.CreatedBy(c, dockerfile.Facts{}),
	}
}

func (b *build) add(s *dockerfile.Stage, in dockerfile.Instruction, c *instructions.AddCommand) (stage.Instruction, error) {
	remote, err := b.remotes.of(c)
	if err != nil {
		return nil, err
	}
	return stage.Copy{
		Verb: "ADD", From: b.files, Sources: c.SourcePaths, Remote: remote, Contents: contents(c.SourceContents),
		Dest: c.DestPath, Chown: c.Chown, Chmod: c.Chmod, Exclude: c.ExcludePatterns,
		Extract: c.Unpack == nil || *c.Unpack, ExtractRemote: c.Unpack != nil && *c.Unpack,
		Link: c.Link, Last: b.isLast(s, in),
		Instruction: in.Original, CreatedBy: dockerfile.CreatedBy(c, dockerfile.Facts{}),
	}, nil
}

// source gives what COPY --from names; without it, the context.
func (b *build) source(in dockerfile.Instruction) stage.Source {
	switch {
	case in.FromStage >= 0:
		return stageSource{b, b.file.Stages[in.FromStage]}
	case in.FromImage != "":
		return b.sourceNamed(in.FromImage)
	default:
		return b.files
	}
}

// isLast says whether no step after this one needs the tree that it makes.
// Other stages can't need the target's.
func (b *build) isLast(s *dockerfile.Stage, in dockerfile.Instruction) bool {
	if s != b.target() || in.Trigger || len(b.o.Trees) > 0 {
		return false
	}
	for _, later := range s.Instructions {
		if later.Line <= in.Line {
			continue
		}
		switch c := later.Cmd.(type) {
		case *instructions.RunCommand, *instructions.WorkdirCommand:
			return false
		case *instructions.CopyCommand:
			if !c.Link {
				return false
			}
		case *instructions.AddCommand:
			if !c.Link {
				return false
			}
		}
	}
	return true
}

func contents(docs []instructions.SourceContent) []stage.Content {
	var list []stage.Content
	for _, d := range docs {
		list = append(list, stage.Content{Name: d.Path, Data: d.Data})
	}
	return list
}

func workdir(st *stage.State, in dockerfile.Instruction, c *instructions.WorkdirCommand) stage.Instruction {
	dir := c.Path
	if !path.IsAbs(dir) {
		dir = path.Join("/", st.Config.Config.WorkingDir, dir)
	}
	dir = path.Clean(dir)
	return stage.Workdir{
		Dir: dir, Instruction: in.Original,
		CreatedBy: dockerfile.CreatedBy(c, dockerfile.Facts{Dir: dir}),
	}
}

func (b *build) arg(st *stage.State, c *instructions.ArgCommand) (stage.Instruction, error) {
	args, err := b.file.Args(c, st.Env())
	if err != nil {
		return nil, err
	}
	set := make([]stage.Arg, len(args))
	for i, a := range args {
		set[i] = stage.Arg(a)
		if dockerfile.ForBuilderOnly(a.Name) {
			set[i].Set = false
		}
	}
	return stage.Change{
		CreatedBy: dockerfile.CreatedBy(c, dockerfile.Facts{Declared: args}),
		Apply:     stage.SetArgs(set),
	}, nil
}

// change turns what changes only the config.
func change(st *stage.State, cmd instructions.Command) (stage.Instruction, error) {
	var facts dockerfile.Facts
	var apply func(*stage.State) error
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		apply = stage.SetEnv(pairs(c.Env))
	case *instructions.LabelCommand:
		apply = stage.SetLabels(pairs(c.Labels))
	case *instructions.CmdCommand:
		facts.Args = dockerfile.CommandLine(c.ShellDependantCmdLine, st.Config.Config.Shell)
		apply = stage.SetCmd(facts.Args)
	case *instructions.EntrypointCommand:
		facts.Args = dockerfile.CommandLine(c.ShellDependantCmdLine, st.Config.Config.Shell)
		apply = stage.SetEntrypoint(facts.Args)
	case *instructions.ExposeCommand:
		ports, err := dockerfile.ExposedPorts(c)
		if err != nil {
			return nil, err
		}
		apply = stage.AddPorts(ports)
	case *instructions.VolumeCommand:
		apply = stage.AddVolumes(c.Volumes)
	case *instructions.UserCommand:
		apply = stage.SetUser(c.User)
	case *instructions.ShellCommand:
		apply = stage.SetShell(c.Shell)
	case *instructions.StopSignalCommand:
		apply = stage.SetStopSignal(c.Signal)
	case *instructions.HealthCheckCommand:
		apply = stage.SetHealthcheck(healthcheck(c))
	case *instructions.OnbuildCommand:
		apply = stage.AddTrigger(c.Expression)
	case *instructions.MaintainerCommand:
		apply = stage.SetAuthor(c.Maintainer)
	default:
		return nil, fmt.Errorf("%s is not supported yet", cmd.Name())
	}
	return stage.Change{CreatedBy: dockerfile.CreatedBy(cmd, facts), Apply: apply}, nil
}

func pairs(kvs instructions.KeyValuePairs) []stage.Pair {
	var list []stage.Pair
	for _, kv := range kvs {
		list = append(list, stage.Pair{Name: kv.Key, Value: kv.Value})
	}
	return list
}

func healthcheck(c *instructions.HealthCheckCommand) *layout.Healthcheck {
	h := c.Health
	return &layout.Healthcheck{
		Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
		StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
	}
}
