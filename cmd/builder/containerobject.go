package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// containerObject is a container as docker's API tells it, and in docker's order.
// The files that it sees in /etc have no place that the user could reach.
type containerObject struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           containerObjectState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      hostConfigObject
	GraphDriver     imageObjectDriver
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []mountObject
	Config          containerObjectConfig
	NetworkSettings networkObject
}

type containerObjectState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
}

type containerObjectConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *layout.Healthcheck `json:",omitempty"`
	ArgsEscaped  bool                `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string   `json:",omitempty"`
	StopTimeout  *int     `json:",omitempty"`
	Shell        []string `json:",omitempty"`
}

type mountObject struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// newContainerObject gathers what is known of a container.
func newContainerObject(c *cli.Context, store *storage.Store, found container.Found) (*containerObject, error) {
	config, state := found.Config, found.State
	var settings layout.RunConfig
	if len(config.Settings) > 0 {
		if err := json.Unmarshal(config.Settings, &settings); err != nil {
			return nil, fmt.Errorf("the settings of container %s: %w", config.ID, err)
		}
	}
	o := &containerObject{
		ID: config.ID, Created: config.CreatedAt.Format(time.RFC3339Nano), Args: []string{},
		State: newStateObject(state), Image: config.ImageID, LogPath: logPath(store, config), Name: "/" + config.Name,
		RestartCount: state.Restarts, Platform: "linux", AppArmorProfile: config.Spec.Security.AppArmor,
		HostConfig: newHostConfig(config), Mounts: []mountObject{},
		Config: newConfigObject(config, settings), NetworkSettings: newNetworkObject(found, settings),
	}
	if len(config.Spec.Args) > 0 {
		o.Path, o.Args = config.Spec.Args[0], append(o.Args, config.Spec.Args[1:]...)
	}
	if state.Status == container.StatusRunning || state.Status == container.StatusPaused {
		o.State.Pid = mainProcess(c, config.ID)
	}
	for _, m := range config.Mounts {
		if m.Type != container.MountTmpfs { // which docker tells of in HostConfig
			o.Mounts = append(o.Mounts, newMountObject(m))
		}
	}
	o.nameDriver(store)
	return o, nil
}

// never is what docker has for a time at which nothing has happened.
const never = "0001-01-01T00:00:00Z"

func newStateObject(s container.State) containerObjectState {
	o := containerObjectState{
		Status: string(s.Status), Running: s.Lives(), Paused: s.Status == container.StatusPaused,
		Restarting: s.Status == container.StatusRestarting, OOMKilled: s.OOMKilled, Dead: s.Status == container.StatusDead,
		ExitCode: s.ExitCode, Error: s.Error, StartedAt: never, FinishedAt: never,
	}
	if !s.StartedAt.IsZero() {
		o.StartedAt = s.StartedAt.Format(time.RFC3339Nano)
	}
	if !s.FinishedAt.IsZero() {
		o.FinishedAt = s.FinishedAt.Format(time.RFC3339Nano)
	}
	return o
}

func logPath(store *storage.Store, config container.Config) string {
	if driver := cmp.Or(config.Log.Driver, log.DriverJSON); driver != log.DriverJSON {
		return ""
	}
	return filepath.Join(containersDir(store), config.ID, "log")
}

// mainProcess gives the number that the container's program has on this machine,
// or 0: it is the first one of its pid namespace.
func mainProcess(c *cli.Context, id string) int {
	client, err := dialMonitor(c, id)
	if err != nil {
		return 0
	}
	defer func() { _ = client.Close() }()
	pids, err := client.Processes()
	if err != nil || len(pids) == 0 {
		return 0
	}
	for _, pid := range pids {
		status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		_, rest, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ := strings.Cut(rest, "\n")
		if own := strings.Fields(line); len(own) > 0 && own[len(own)-1] == "1" {
			return pid
		}
	}
	return slices.Min(pids)
}

// nameDriver tells where the container's files are.
func (o *containerObject) nameDriver(store *storage.Store) {
	driver, err := store.KeptDriver(o.ID)
	if err != nil {
		return
	}
	o.Driver = string(driver)
	o.GraphDriver.Name = o.Driver
	dirs, err := store.KeptDirs(o.ID)
	if err != nil || len(dirs) < 2 {
		return // with vfs there is one, which docker doesn't tell either
	}
	own := filepath.Dir(dirs[0])
	o.GraphDriver.Data = map[string]string{
		"ID": o.ID, "UpperDir": dirs[0], "LowerDir": strings.Join(dirs[1:], ":"),
		"MergedDir": filepath.Join(own, "merged"), "WorkDir": filepath.Join(own, "work"),
	}
}

func newConfigObject(c container.Config, s layout.RunConfig) containerObjectConfig {
	labels := c.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return containerObjectConfig{
		Hostname: c.Spec.Hostname, User: s.User, AttachStdin: c.StdinOnce,
		ExposedPorts: s.ExposedPorts, Tty: c.Terminal, OpenStdin: c.OpenStdin, StdinOnce: c.StdinOnce,
		Env: s.Env, Cmd: s.Cmd, Healthcheck: s.Healthcheck, ArgsEscaped: s.ArgsEscaped, Image: c.Image, Volumes: s.Volumes,
		WorkingDir: s.WorkingDir, Entrypoint: s.Entrypoint, OnBuild: s.OnBuild, Labels: labels,
		StopSignal: s.StopSignal, StopTimeout: c.StopTimeout, Shell: s.Shell,
	}
}

// propagations are the options of a mount that docker tells apart from the others.
var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

func newMountObject(m container.Mount) mountObject {
	o := mountObject{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, RW: !m.ReadOnly}
	if m.Type == container.MountVolume {
		o.Driver = "local"
	} else {
		o.Propagation = "rprivate"
	}
	var mode []string
	if m.ReadOnly {
		mode = append(mode, "ro")
	}
	for _, option := range m.Options {
		if slices.Contains(propagations, option) {
			o.Propagation = option
		}
		mode = append(mode, option)
	}
	o.Mode = strings.Join(mode, ",")
	return o
}

// networkObject is how a container is connected.
type networkObject struct {
	Bridge                 string
	SandboxID              string
	SandboxKey             string
	Ports                  map[string][]portBinding
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []string
	SecondaryIPv6Addresses []string
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
	Networks               map[string]endpointObject
}

type endpointObject struct {
	IPAMConfig          *struct{}
	Links               []string
	Aliases             []string
	MacAddress          string
	DriverOpts          map[string]string
	GwPriority          int
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
}

type portBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

func newNetworkObject(found container.Found, settings layout.RunConfig) networkObject {
	o := networkObject{Ports: map[string][]portBinding{}, Networks: map[string]endpointObject{}, IPAddress: found.State.IP}
	if name := networkName(found.Config.Network); name != "" {
		o.Networks[name] = endpointObject{IPAddress: found.State.IP}
	}
	if found.State.Status != container.StatusRunning && found.State.Status != container.StatusPaused {
		return o
	}
	if found.Config.Network.Mode == network.ModePrivate {
		for port := range settings.ExposedPorts {
			o.Ports[port] = nil
		}
	}
	for _, p := range found.State.Ports {
		at := portBinding{HostIP: cmp.Or(p.HostIP, "0.0.0.0"), HostPort: strconv.Itoa(int(p.HostPort))}
		o.Ports[p.Container()] = append(o.Ports[p.Container()], at)
	}
	return o
}
