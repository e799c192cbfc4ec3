package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-tools/generate"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

// What the kernel is told for a program: its parameters of the sandbox's
// namespaces, and how soon it is to be killed for want of memory.

// ownParameters are those that the ipc and uts namespaces have of their own, beside
// the ones that begin with fs.mqueue.
var ownParameters = []string{
	"kernel.domainname", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm_rmid_forced",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni",
}

// setSysctls sets kernel parameters, but none that is the whole machine's.
func setSysctls(g *generate.Generator, s Spec) error {
	for name, value := range s.Sysctls {
		switch {
		case strings.HasPrefix(name, "net.") && s.Network == network.ModeHost:
			return fault.New("leave it out, or choose another network than host",
				"the kernel parameter %q can't be set: with the network host it is the whole machine's", name)
		case strings.HasPrefix(name, "net."), strings.HasPrefix(name, "fs.mqueue."), slices.Contains(ownParameters, name):
			g.AddLinuxSysctl(name, value)
		default:
			return fault.New("leave it out, or have root set it for the machine: sudo sysctl -w "+name+"="+value,
				"the kernel parameter %q can't be set: it is the whole machine's, not the container's", name)
		}
	}
	return nil
}

// setOOMScore sets how soon the program is to be killed, which can be sooner than
// builder itself, not later.
func setOOMScore(g *generate.Generator, s Spec) error {
	if s.OOMScoreAdj == 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return err
	}
	own, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("/proc/self/oom_score_adj: %w", err)
	}
	if s.OOMScoreAdj < own || s.OOMScoreAdj > 1000 {
		return fault.New(fmt.Sprintf("choose one from %d to 1000", own),
			"the program can't have the OOM score adjustment %d: only root can go below builder's own", s.OOMScoreAdj)
	}
	g.SetProcessOOMScoreAdj(s.OOMScoreAdj)
	return nil
}
