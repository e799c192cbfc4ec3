package build

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

// Entitlements are what a Dockerfile, which may be a stranger's, takes for a RUN
// only where the user allows it. Their names are BuildKit's.
type Entitlements struct {
	Insecure    bool // security.insecure
	NetworkHost bool // network.host
}

const (
	entitledInsecure = "security.insecure"
	entitledNetwork  = "network.host"
	entitledDevice   = "device"
)

// ParseEntitlements reads BuildKit's names.
func ParseEntitlements(names []string) (Entitlements, error) {
	var e Entitlements
	for _, name := range names {
		kind, _, _ := strings.Cut(name, "=")
		switch {
		case name == entitledInsecure:
			e.Insecure = true
		case name == entitledNetwork:
			e.NetworkHost = true
		case kind == entitledDevice:
			return e, fault.New("give every RUN the device file: --device /dev/NAME",
				"--allow %s: RUN --device, which it is for, is not supported yet", name)
		default:
			return e, fault.New("there are "+entitledInsecure+" and "+entitledNetwork, "--allow %s: unknown entitlement", name)
		}
	}
	return e, nil
}

// checkEntitlements refuses a RUN that takes what the user hasn't given.
func (b *build) checkEntitlements(in dockerfile.Instruction) error {
	c, isRun := in.Cmd.(*instructions.RunCommand)
	if !isRun {
		return nil
	}
	var err error
	switch {
	case isInsecure(c) && !b.o.Allow.Insecure:
		err = fault.New("--allow "+entitledInsecure+"    # allows it, if you trust the Dockerfile",
			"RUN --security=insecure: the entitlement %s is not allowed", entitledInsecure)
	case instructions.GetNetwork(c) == instructions.NetworkHost && !b.o.Allow.NetworkHost &&
		b.runner.Settings.Network != network.ModeHost:
		err = fault.New("--allow "+entitledNetwork+"    # allows it, if you trust the Dockerfile\n"+
			"--network host    # gives it to the whole build",
			"RUN --network=host: this build's network is %s, and the entitlement %s is not allowed",
			b.runner.Settings.Network, entitledNetwork)
	}
	if err == nil {
		return nil
	}
	return fault.At(in.Place(b.file.Name), err)
}

func isInsecure(c *instructions.RunCommand) bool {
	return instructions.GetSecurity(c) == instructions.SecurityInsecure
}
