package sandbox

import (
	"errors"
	"fmt"

	rspec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/emulate"
)

// A user namespace that maps a single id refuses programs every other one. What they
// ask for is then watched, so that a failure can be explained, or answered by builder
// (see package emulate).

// EmulateRemedy is what else there is than more ids.
const EmulateRemedy = "add --emulate-ids: builder answers such calls itself, and keeps the owners on record"

// supervise puts into the bundle what watches or answers the program's calls.
func (o *OCI) supervise(b *bundle, s Spec, spec *rspec.Spec) error {
	mode := emulate.Observe
	if s.EmulateIDs {
		mode = emulate.Emulate
	}
	if !o.host.single() {
		return nil
	}
	if err := emulate.Unsupported(); err != nil {
		switch {
		case s.EmulateIDs && errors.Is(err, emulate.ErrArchitecture):
			return fault.New("do without --emulate-ids; builder doctor says how to have more ids", "--emulate-ids: %w", err)
		case s.EmulateIDs:
			return fault.New("use Linux 5.9 or later", "this kernel hands no calls over to be answered, which --emulate-ids needs: %w", err)
		}
		return nil
	}
	profile, err := o.filters.profile(spec, s)
	if err != nil {
		return err
	}
	switch taken := profile != nil && profile.ListenerPath != ""; {
	case mode == emulate.Observe && (profile == nil || taken):
		return nil // without a filter of its own the program gets none
	case taken:
		return fault.New("use another profile, or do without --emulate-ids",
			"the seccomp profile has a listener of its own, which --emulate-ids needs for itself: %s", profile.ListenerPath)
	}
	b.supervisor = emulate.New(emulate.Options{Mode: mode, User: s.credentials(), Recorded: s.Recorded, Own: s.ownPlaces(), Temp: s.Temp})
	if b.listener, err = b.supervisor.Listen(b.dir); err != nil {
		return fmt.Errorf("listening for calls: %w", err)
	}
	spec.Linux.Seccomp = emulate.Extend(profile, mode, b.listener.Path())
	return nil
}

// ownPlaces are where something is mounted that isn't the user's own.
func (s Spec) ownPlaces() (places []string) {
	for _, m := range s.Mounts {
		if !m.Host {
			places = append(places, m.Destination)
		}
	}
	return places
}

// credentials are whom the program is to be.
func (s Spec) credentials() emulate.Credentials {
	return emulate.Credentials{UID: emulate.All(s.UID), GID: emulate.All(s.GID), Groups: s.Groups}
}

// starting calls start, which starts one more program in the sandbox.
func (b *bundle) starting(s Spec, start func() error) error {
	if b.supervisor == nil {
		return start()
	}
	return b.supervisor.Start(s.credentials(), start)
}

// noted adds to an exit what the supervisor has seen.
func (b *bundle) noted(e *Exit) {
	if b.supervisor != nil {
		e.IDs = b.supervisor.Seen()
	}
}
