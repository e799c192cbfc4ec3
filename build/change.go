package build

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
)

// Changes are instructions that change the config of an image which isn't built:
// those of --change.
type Changes []dockerfile.Instruction

// ParseChanges parses texts such as "ENV A=b", and refuses instructions that
// would change files.
func ParseChanges(texts []string) (Changes, error) {
	list, err := dockerfile.ParseChanges(texts)
	return list, err
}

// Apply changes a config, one instruction after another: variables are those that
// the config has by then. The history is left alone.
func (c Changes) Apply(config *layout.ImageConfig) error {
	st := stage.Scratch(config)
	for _, in := range c {
		if err := apply(&st, in); err != nil {
			return fault.At("--change "+in.Original, err)
		}
	}
	*config = *st.Config
	return nil
}

func apply(st *stage.State, in dockerfile.Instruction) error {
	cmd, err := dockerfile.Expander{}.Command(in.Cmd, st.Env())
	if err != nil {
		return err
	}
	if c, ok := cmd.(*instructions.WorkdirCommand); ok {
		st.Config.Config.WorkingDir = workdir(st, in, c).(stage.Workdir).Dir
		return nil
	}
	changed, err := change(st, cmd)
	if err != nil {
		return err
	}
	return changed.(stage.Change).Apply(st)
}
