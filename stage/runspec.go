package stage

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/storage/snapshot"
)

// spec describes the sandbox of the command.
func (in Run) spec(r *Runner, st *State, active *snapshot.Active) (sandbox.Spec, error) {
	user, err := lookupUser(active.Parent(), st.Config.Config.User)
	if err != nil {
		return sandbox.Spec{}, err
	}
	id := newID()
	s := sandbox.Spec{
		ID:       id,
		Args:     in.Args,
		Env:      r.Settings.lent(homeEnv(st.Env(), user.Home)),
		Cwd:      workdir(st),
		UID:      uint32(user.Uid),
		GID:      uint32(user.Gid),
		Hostname: cmp.Or(r.Settings.Hostname, sandbox.DefaultHostname),
		Ulimits:  r.Settings.Ulimits,
		ShmSize:  r.Settings.ShmSize,
		Network:  in.network(r),
		CapAdd:   r.Settings.CapAdd,
		CapDrop:  r.Settings.CapDrop,
		Insecure: in.Insecure,
		Security: r.Settings.Security,

		EmulateIDs: r.Settings.EmulateIDs && !r.ExactOwners,
		Recorded:   RecordedOwner(active),
		Temp:       active.Temp(),
		Limits:     r.Settings.Limits,
		StateDir:   filepath.Join(r.Settings.StateDir, id),
	}
	s.Groups = Groups(user)
	return s, os.MkdirAll(s.StateDir, 0o700)
}

// lent adds to env what is this machine's and not the image's: proxies, and where
// programs find the authorities that the user trusts.
func (s Settings) lent(env []string) []string {
	return withDefaults(withDefaults(env, s.Proxy), s.Trust.Env())
}

// showScript puts a here-document that is a program into the sandbox.
func (in Run) showScript(s *sandbox.Spec) error {
	if in.Script == nil {
		return nil
	}
	file := filepath.Join(s.StateDir, "script")
	if err := os.WriteFile(file, in.Script.Data, 0o600); err != nil {
		return err
	}
	s.Mounts = append(s.Mounts, sandbox.Mount{
		Type: "bind", Source: file, Destination: in.Script.Path, Options: []string{"bind", "ro"},
	})
	return os.Chmod(file, os.FileMode(in.Script.Mode))
}

// connect gives the sandbox its network, and the function that gives it back.
func (in Run) connect(ctx context.Context, r *Runner, s *sandbox.Spec) (func() error, error) {
	release := func() error { return nil }
	var n network.Network
	switch s.Network {
	case network.ModePrivate:
		acquire := r.Networks.Acquire
		if len(s.CapAdd) > 0 || s.Insecure {
			acquire = r.Networks.AcquireFresh
		}
		ns, err := acquire(ctx)
		if err != nil {
			return nil, err
		}
		release = func() error { return r.Networks.Release(ns) }
		n = ns.Network()
	case network.ModeNone:
		n = network.ForNone()
	default:
		n = network.ForHost(r.Settings.DNS)
	}
	s.NetNS, s.ResolvConf = n.NSPath, n.Resolv
	if s.ResolvConf == nil {
		s.ResolvConf = []byte{}
	}
	hosts, err := n.Hosts(r.Settings.AddHosts)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	s.Hosts = sandbox.HostsFile(s.Hostname, n.HostsIP, hosts)
	return release, nil
}

// homeEnv is the environment of a command that the config and the arguments
// give, with HOME.
func homeEnv(env []string, home string) []string {
	if _, set := lookupEnv(env, "HOME"); !set {
		env = append(env, "HOME="+home)
	}
	return env
}

// withDefaults adds the variables that env doesn't set itself.
func withDefaults(env, defaults []string) []string {
	for _, kv := range defaults {
		name, _, _ := strings.Cut(kv, "=")
		if _, set := lookupEnv(env, name); !set {
			env = append(env, kv)
		}
	}
	return env
}

// DefaultPath is the PATH of images that set none, as docker has it.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
