package isolation

import "github.com/builder-oci/builder/internal/fault"

func (i *Isolation) chroot(why *fault.Error) (*chosen, error) { return nothing(why), nil }
