package stage

import (
	"context"
	"maps"
	"slices"

	"github.com/builder-oci/builder/storage/layout"
)

// Change is an instruction that changes only the config: ENV, LABEL, CMD and
// the like. It makes no layer and has no key.
type Change struct {
	// CreatedBy is its line in the history; "" leaves none.
	CreatedBy string
	// Apply changes the state.
	Apply func(st *State) error
}

func (c Change) apply(_ context.Context, r *Runner, st *State, at Step) error {
	if err := c.Apply(st); err != nil {
		return err
	}
	if c.CreatedBy != "" {
		st.note(c.CreatedBy)
	}
	r.Report(Done{Step: at, ID: ShortID(st.ID)})
	return nil
}

// Pair is a name and its value.
type Pair struct{ Name, Value string }

// SetEnv is ENV.
func SetEnv(pairs []Pair) func(*State) error {
	return func(st *State) error {
		c := &st.Config.Config
		for _, p := range pairs {
			c.Env = setEnv(c.Env, p.Name, p.Value)
			delete(st.overENV, p.Name)
		}
		return nil
	}
}

// SetLabels is LABEL.
func SetLabels(pairs []Pair) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) {
		labels := maps.Clone(c.Config.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for _, p := range pairs {
			labels[p.Name] = p.Value
		}
		c.Config.Labels = labels
	})
}

// Arg is a build argument. Set says that it has a value.
type Arg struct {
	Name, Value string
	Set         bool
}

// SetArgs is ARG: each argument that has a value is visible from here on.
func SetArgs(args []Arg) func(*State) error {
	return func(st *State) error {
		for _, a := range args {
			if a.Set {
				st.SetArg(a.Name, a.Value)
			} else {
				st.declare(a.Name)
			}
		}
		return nil
	}
}

// SetCmd is CMD.
func SetCmd(args []string) func(*State) error {
	return func(st *State) error {
		st.Config.Config.Cmd = args
		st.Config.Config.ArgsEscaped = true // as BuildKit writes it
		st.ownCmd = true
		return nil
	}
}

// SetEntrypoint is ENTRYPOINT. It drops a CMD that the stage didn't set
// itself, since that was made for another entry point.
func SetEntrypoint(args []string) func(*State) error {
	return func(st *State) error {
		st.Config.Config.Entrypoint = args
		if !st.ownCmd {
			st.Config.Config.Cmd = nil
		}
		return nil
	}
}

// AddPorts is EXPOSE; each port is written as "80/tcp".
func AddPorts(ports []string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) {
		c.Config.ExposedPorts = withMembers(c.Config.ExposedPorts, ports)
	})
}

// AddVolumes is VOLUME.
func AddVolumes(paths []string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) {
		c.Config.Volumes = withMembers(c.Config.Volumes, paths)
	})
}

// SetUser is USER.
func SetUser(user string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) { c.Config.User = user })
}

// SetShell is SHELL.
func SetShell(args []string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) { c.Config.Shell = args })
}

// SetStopSignal is STOPSIGNAL.
func SetStopSignal(signal string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) { c.Config.StopSignal = signal })
}

// SetHealthcheck is HEALTHCHECK.
func SetHealthcheck(h *layout.Healthcheck) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) { c.Config.Healthcheck = h })
}

// AddTrigger is ONBUILD.
func AddTrigger(text string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) {
		c.Config.OnBuild = append(slices.Clone(c.Config.OnBuild), text)
	})
}

// SetAuthor is MAINTAINER.
func SetAuthor(name string) func(*State) error {
	return onConfig(func(c *layout.ImageConfig) { c.Author = name })
}

func onConfig(change func(*layout.ImageConfig)) func(*State) error {
	return func(st *State) error {
		change(st.Config)
		return nil
	}
}

func withMembers(set map[string]struct{}, names []string) map[string]struct{} {
	set = maps.Clone(set)
	if set == nil {
		set = map[string]struct{}{}
	}
	for _, n := range names {
		set[n] = struct{}{}
	}
	return set
}
