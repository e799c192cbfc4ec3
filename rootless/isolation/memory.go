package isolation

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/smallfile"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// failedRuntime is what is remembered of a runtime that couldn't run anything.
type failedRuntime struct {
	Boot    string `json:"boot"`
	Runtime string `json:"runtime"` // which build of it
	Cause   string `json:"cause"`
	Remedy  string `json:"remedy,omitempty"`
}

func (i *Isolation) file() string { return filepath.Join(i.o.RunDir, "isolation.json") }

// remember notes that a runtime works for no program. If that can't be written it
// will be tried again.
func (i *Isolation) remember(rt sandbox.Runtime, why *fault.Error) {
	boot, err := bootid.Get()
	if err != nil {
		return
	}
	known := append(i.known(), failedRuntime{boot, rt.Identity(), why.Error(), why.Remedy})
	if data, err := json.Marshal(known); err == nil {
		_ = atomicfile.WriteUnsynced(i.file(), data, 0o600)
	}
}

// remembered gives why a runtime worked for no program since the machine was
// started; nil where nothing is known.
func (i *Isolation) remembered(rt sandbox.Runtime) *fault.Error {
	identity := rt.Identity()
	for _, failed := range i.known() {
		if failed.Runtime == identity {
			return fault.Machine(failed.Remedy, "%s", failed.Cause)
		}
	}
	return nil
}

// known gives what has failed since the machine was started.
func (i *Isolation) known() (list []failedRuntime) {
	data, err := smallfile.Read(i.file())
	boot, noBoot := bootid.Get()
	if err != nil || noBoot != nil || json.Unmarshal(data, &list) != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(f failedRuntime) bool { return f.Boot != boot })
}
