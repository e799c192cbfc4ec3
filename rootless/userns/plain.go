package userns

import (
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// Plain says who may go on without a user namespace where none can be had.
type Plain int

// Going on without a user namespace.
const (
	// PlainNever makes that an error.
	PlainNever Plain = iota
	// PlainUser lets an ordinary user go on: what he makes is his, and he runs
	// nothing.
	PlainUser
	// PlainRoot lets root go on, too. Of a container's root that is meant:
	// what is run is then kept apart from it by nothing but chroot.
	PlainRoot
)

// plainly tells whether this process may go on without a user namespace. Keeping
// one's own ids is asked for, and would mean nothing there.
func (opts Options) plainly() bool {
	return !opts.KeepID && (opts.Plain == PlainRoot || opts.Plain == PlainUser && os.Geteuid() != 0)
}

// refusal is why there is no inner process: nothing was run.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// unprivileged is why the ranges couldn't be mapped, though the files are right:
// newuidmap or newgidmap lacks the privilege.
type unprivileged struct{ error }

func (u unprivileged) Unwrap() error { return u.error }

// stepDown calls start with the best mapping, and again with lesser ones where
// that is refused: with a single id where the ranges can't be mapped, and without
// a user namespace where the options allow it.
func (opts Options) stepDown(o *outer, start func() error) (err error) {
	if opts.Join != 0 {
		if o.mapping, err = mappingOf(opts.Join); err != nil {
			return err
		}
		return start()
	}
	if o.mapping, err = detect(opts); err == nil {
		err = start()
	} else {
		err = refusal{err}
	}
	if lesser := (unprivileged{}); errors.As(err, &lesser) && !opts.KeepID {
		o.mapping = singleMapping(os.Geteuid(), os.Getegid(), asFault(lesser.error))
		err = start()
	}
	if refused := (refusal{}); errors.As(err, &refused) && opts.plainly() {
		o.mapping = plainMapping(asFault(refused.error))
		err = start()
	}
	return err
}

// plainMapping is that of a process without a user namespace of its own. A root who
// may not give files away is an ordinary user in all but name.
func plainMapping(why *fault.Error) Mapping {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	switch {
	case uid == 0 && mayGiveAway():
		if why != nil {
			lesser := *why
			lesser.Remedy = doctor.WithoutChroot(why.Remedy)
			why = &lesser
		}
		all := []IDMap{{0, 0, maxID}}
		return Mapping{UIDs: all, GIDs: all, Kind: KindHost, Notice: why}
	case uid == 0:
		why = fault.Machine("give the container the capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID and SYS_CHROOT, as docker does\n"+
			"(a pod: securityContext.capabilities.add)", "root of this container may not give files away, and there is no user namespace: %w", why)
	}
	return Mapping{UIDs: []IDMap{{uid, uid, 1}}, GIDs: []IDMap{{gid, gid, 1}}, Kind: KindOwn, UID: uid, GID: gid, Notice: why}
}

// mayGiveAway tells whether this process has what a container's root writes an
// image's files by, as they are; a pod may drop it.
func mayGiveAway() bool {
	const wanted = 1<<unix.CAP_CHOWN | 1<<unix.CAP_FOWNER | 1<<unix.CAP_DAC_OVERRIDE
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&wanted == wanted
}

// Plain tells whether there is no user namespace.
func (m Mapping) Plain() bool { return m.Kind == KindHost || m.Kind == KindOwn }

// lack is a *fault.Error on its way to the inner process.
type lack struct {
	Cause  string `json:"cause"`
	Remedy string `json:"remedy,omitempty"`
}

func writeLack(f *fault.Error) string {
	if f == nil {
		return ""
	}
	data, err := json.Marshal(lack{f.Error(), f.Remedy})
	if err != nil {
		return ""
	}
	return string(data)
}

func readLack(text string) *fault.Error {
	var l lack
	if text == "" || json.Unmarshal([]byte(text), &l) != nil {
		return nil
	}
	return fault.Machine(l.Remedy, "%s", l.Cause)
}

// Lack says, inside, why there is no user namespace; nil where there is one.
func Lack() *fault.Error {
	if m, err := Current(); err == nil && m.Plain() {
		return m.Notice
	}
	return nil
}

// MountNamespace tells, inside, whether this process has mounts of its own.
func MountNamespace() bool { return Inside() && os.Getenv(envMounts) == "1" }
