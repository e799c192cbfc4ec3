package isolation

import (
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
)

// chroot is the level below a runtime's, and nothing where even that can't be had. why
// is why it isn't a better one.
func (i *Isolation) chroot(why *fault.Error) (*chosen, error) {
	mapping, err := userns.Current()
	if err != nil {
		return nil, err
	}
	box, err := sandbox.NewChroot(sandbox.ChrootOptions{Plain: mapping.Plain()})
	if err != nil {
		return nothing(asFault(err)), nil
	}
	return &chosen{level: Chroot, box: box, why: why}, nil
}
