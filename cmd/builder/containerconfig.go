package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// config combines what the user asks for with what the image says, as docker
// does. The container gets an id, and only such a name as was asked for. tree is
// the image's.
func (r containerRequest) config(img layout.Image, image layout.RunConfig, tree *layer.Tree) (container.Config, error) {
	settings, err := r.settings(image)
	if err != nil {
		return container.Config{}, err
	}
	written, err := json.Marshal(settings)
	if err != nil {
		return container.Config{}, err
	}
	c := container.Config{
		ID: container.NewID(), Name: r.Name, Image: r.Image, ImageID: img.ID.String(), Settings: written,
		Network: r.Network, Mounts: r.Mounts, Labels: settings.Labels, Restart: r.Restart, Log: r.Log,
		StopSignal: settings.StopSignal, StopTimeout: r.StopTimeout,
		Terminal: r.Terminal, OpenStdin: r.Interactive, StdinOnce: r.Interactive && r.AttachedStdin,
		KeepID: r.KeepID || r.SharedKeepID, Init: r.Init, Remove: r.Remove, CreatedAt: time.Now().UTC(),
		GroupAdd: r.Groups, PublishAll: r.PublishAll, Authorities: string(r.Authorities),
	}
	if c.Network.Mode, err = r.networkMode(); err != nil {
		return container.Config{}, err
	}
	if c.Ports, err = r.publishedPorts(settings.ExposedPorts); err != nil {
		return container.Config{}, err
	}
	c.Spec, err = r.spec(c, settings, tree)
	return c, err
}

// networkMode is the network that was asked for, or the best that there is, if it
// can have what else was asked for.
func (r containerRequest) networkMode() (network.Mode, error) {
	mode := cmp.Or(r.Network.Mode, network.Default())
	if lack := network.Lack(); r.Network.Mode == "" && lack != nil && (len(r.Ports) > 0 || r.PublishAll) {
		return mode, fault.New(fault.Remedy(lack), "ports can't be published: %w", lack)
	}
	if err := r.checkPublishing(mode); err != nil {
		return mode, err
	}
	return mode, r.checkSysctls(mode)
}

// settings are the image's with the user's in their place.
func (r containerRequest) settings(image layout.RunConfig) (layout.RunConfig, error) {
	s := image
	s.OnBuild, s.ArgsEscaped = nil, false
	s.Entrypoint, s.Cmd = r.command(image)
	s.User = cmp.Or(r.User, image.User)
	if r.KeepID && r.User == "" { // podman's keep-id minds no USER of the image's
		s.User = fmt.Sprintf("%d:%d", r.CallerUID, r.CallerGID)
	}
	s.Env = mergeEnv([]string{"PATH=" + stage.DefaultPath}, image.Env, r.Env)
	s.Labels = union(image.Labels, r.Labels)
	s.WorkingDir = cmp.Or(r.Workdir, image.WorkingDir)
	s.ExposedPorts = union(image.ExposedPorts, r.exposedPorts())
	s.Volumes = union(image.Volumes, r.anonymousVolumes())
	s.StopSignal = cmp.Or(r.StopSignal, image.StopSignal)
	if r.NoHealthcheck {
		s.Healthcheck = &layout.Healthcheck{Test: []string{"NONE"}}
	}
	if s.StopSignal != "" {
		if _, err := container.ParseSignal(s.StopSignal); err != nil {
			return s, err
		}
	}
	if r.Workdir != "" && !path.IsAbs(r.Workdir) {
		return s, fault.New("write it from / on", "the working directory '%s' is invalid, it needs to be an absolute path", r.Workdir)
	}
	if len(s.Entrypoint)+len(s.Cmd) == 0 {
		return s, fault.New(fmt.Sprintf("name one: %s run %s COMMAND", programName, r.Image),
			"no command specified: the image %s has none of its own", r.Image)
	}
	return s, nil
}

// anonymousVolumes are the places of those.
func (r containerRequest) anonymousVolumes() map[string]struct{} {
	places := map[string]struct{}{}
	for _, m := range r.Mounts {
		if m.Anonymous {
			places[m.Destination] = struct{}{}
		}
	}
	return places
}

// union is a copy of both, with b's where they differ; nil where they are empty.
func union[V any](a, b map[string]V) map[string]V {
	if len(a)+len(b) == 0 {
		return nil
	}
	all := make(map[string]V, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// command is entry point and command: a command of the user's takes the place of
// the image's CMD, an entry point of his that of both.
func (r containerRequest) command(image layout.RunConfig) (entrypoint, cmd []string) {
	entrypoint, cmd = image.Entrypoint, image.Cmd
	if r.ResetEntry || r.Entrypoint != nil {
		entrypoint, cmd = r.Entrypoint, nil
	}
	if len(r.Args) > 0 {
		cmd = r.Args
	}
	return entrypoint, cmd
}

// spec is what the program sees.
func (r containerRequest) spec(c container.Config, settings layout.RunConfig, tree *layer.Tree) (sandbox.Spec, error) {
	account, err := lookUpAccount(tree, settings.User, r.Groups)
	if err != nil {
		return sandbox.Spec{}, err
	}
	s := sandbox.Spec{
		ID: c.ID, Args: slices.Concat(settings.Entrypoint, settings.Cmd), Cwd: path.Join("/", settings.WorkingDir),
		UID: account.uid, GID: account.gid, Groups: account.groups,
		Network: c.Network.Mode, Hostname: cmp.Or(r.Hostname, ownHostname(c)),
		CapAdd: r.CapAdd, CapDrop: r.CapDrop, Insecure: r.Privileged, Security: r.Security, ReadOnly: r.ReadOnly, EmulateIDs: r.EmulateIDs,
		Ulimits: r.Ulimits, Limits: r.Limits, ShmSize: r.ShmSize, Sysctls: r.Sysctls, OOMScoreAdj: r.OOMScoreAdj,
	}
	defaults := []string{"PATH=" + stage.DefaultPath, "HOSTNAME=" + s.Hostname}
	if r.Terminal {
		defaults = append(defaults, "TERM=xterm")
	}
	s.Env = mergeEnv(defaults, r.Proxies, trust.FromPEM(r.Authorities).Env(), settings.Env, r.unset())
	if !slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) {
		s.Env = append(s.Env, "HOME="+account.home)
	}
	for _, d := range r.Devices {
		s.Devices = append(s.Devices, sandbox.Device{Source: d.Source, Path: d.Target})
	}
	return s, nil
}

// ownHostname is the name that a container has where none was asked for.
func ownHostname(c container.Config) string {
	if c.Network.Mode == network.ModeHost {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	return c.ID[:format.ShortLen]
}

// unset are the variables that there aren't to be, as mergeEnv takes them.
func (r containerRequest) unset() []string {
	return slices.DeleteFunc(slices.Clone(r.Env), func(v string) bool { return strings.Contains(v, "=") })
}
