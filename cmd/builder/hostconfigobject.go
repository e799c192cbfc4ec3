package main

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// hostConfigObject is what docker keeps of the flags that a container was made
// with, in docker's order.
type hostConfigObject struct {
	Binds                []string
	ContainerIDFile      string
	LogConfig            logConfigObject
	NetworkMode          string
	PortBindings         map[string][]portBinding
	RestartPolicy        restartObject
	AutoRemove           bool
	VolumeDriver         string
	VolumesFrom          []string
	ConsoleSize          [2]int
	CapAdd               []string
	CapDrop              []string
	CgroupnsMode         string
	DNS                  []string `json:"Dns"`
	DNSOptions           []string `json:"DnsOptions"`
	DNSSearch            []string `json:"DnsSearch"`
	ExtraHosts           []string
	GroupAdd             []string
	IpcMode              string
	Cgroup               string
	Links                []string
	OomScoreAdj          int
	PidMode              string
	Privileged           bool
	PublishAllPorts      bool
	ReadonlyRootfs       bool
	SecurityOpt          []string
	Tmpfs                map[string]string `json:",omitempty"`
	UTSMode              string
	UsernsMode           string
	ShmSize              int64
	Sysctls              map[string]string `json:",omitempty"`
	Runtime              string
	Isolation            string
	CPUShares            int64 `json:"CpuShares"`
	Memory               int64
	NanoCPUs             int64 `json:"NanoCpus"`
	CgroupParent         string
	BlkioWeight          int64
	BlkioWeightDevice    []string
	BlkioDeviceReadBps   []string
	BlkioDeviceWriteBps  []string
	BlkioDeviceReadIOps  []string
	BlkioDeviceWriteIOps []string
	CPUPeriod            int64  `json:"CpuPeriod"`
	CPUQuota             int64  `json:"CpuQuota"`
	CPURealtimePeriod    int64  `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime   int64  `json:"CpuRealtimeRuntime"`
	CPUsetCPUs           string `json:"CpusetCpus"`
	CPUsetMems           string `json:"CpusetMems"`
	Devices              []deviceObject
	DeviceCgroupRules    []string
	DeviceRequests       []string
	MemoryReservation    int64
	MemorySwap           int64
	MemorySwappiness     *int64
	OomKillDisable       *bool
	PidsLimit            *int64
	Ulimits              []ulimitObject
	CPUCount             int64 `json:"CpuCount"`
	CPUPercent           int64 `json:"CpuPercent"`
	IOMaximumIOps        int64
	IOMaximumBandwidth   int64
	MaskedPaths          []string
	ReadonlyPaths        []string
	Init                 *bool `json:",omitempty"`
}

type logConfigObject struct {
	Type   string
	Config map[string]string
}

type restartObject struct {
	Name              string
	MaximumRetryCount int
}

type deviceObject struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

type ulimitObject struct {
	Name string
	Hard int64
	Soft int64
}

const defaultShm = 64 << 20

func newHostConfig(c container.Config) hostConfigObject {
	limits := c.Spec.Limits
	o := hostConfigObject{
		LogConfig: newLogConfig(c.Log), NetworkMode: networkMode(c.Network), PortBindings: map[string][]portBinding{},
		RestartPolicy: restartObject{string(cmp.Or(c.Restart.Policy, container.RestartNo)), c.Restart.Retries}, AutoRemove: c.Remove,
		CapAdd: c.Spec.CapAdd, CapDrop: c.Spec.CapDrop, CgroupnsMode: "host",
		DNS: list(c.Network.DNS.Servers), DNSOptions: list(c.Network.DNS.Options), DNSSearch: list(c.Network.DNS.Search),
		ExtraHosts: extraHosts(c.Network.AddHosts), GroupAdd: c.GroupAdd, PublishAllPorts: c.PublishAll, IpcMode: "private", OomScoreAdj: c.Spec.OOMScoreAdj, Privileged: c.Spec.Insecure,
		ReadonlyRootfs: c.Spec.ReadOnly, SecurityOpt: securityOptions(c), ShmSize: cmp.Or(c.Spec.ShmSize, defaultShm),
		Sysctls: c.Spec.Sysctls, Runtime: runtimeOf(c), CPUShares: limits.CPUShares, Memory: limits.Memory, CgroupParent: limits.Parent,
		BlkioWeight: limits.IOWeight, CPUPeriod: limits.CPUPeriod, CPUQuota: limits.CPUQuota,
		CPUsetCPUs: limits.CPUs, CPUsetMems: limits.Mems, MemoryReservation: limits.MemoryReservation, MemorySwap: limits.MemorySwap,
		Devices: []deviceObject{}, Ulimits: []ulimitObject{},
	}
	if limits.PIDs != 0 {
		o.PidsLimit = &limits.PIDs
	}
	if c.KeepID {
		o.UsernsMode = "keep-id"
	}
	if c.Init {
		o.Init = &c.Init
	}
	for _, p := range c.Ports {
		at := portBinding{HostIP: p.HostIP}
		if p.HostPort != 0 {
			at.HostPort = strconv.Itoa(int(p.HostPort))
		}
		o.PortBindings[p.Container()] = append(o.PortBindings[p.Container()], at)
	}
	for _, d := range c.Spec.Devices {
		o.Devices = append(o.Devices, deviceObject{d.Source, d.Path, "rwm"})
	}
	for _, u := range c.Spec.Ulimits {
		o.Ulimits = append(o.Ulimits, ulimitObject{u.Name, int64(u.Hard), int64(u.Soft)}) // no limit is -1, as docker has it
	}
	o.MaskedPaths, o.ReadonlyPaths = c.Spec.HiddenPaths()
	o.addMounts(c.Mounts)
	return o
}

// runtimeOf is the runtime that was chosen for a container, or would be today.
func runtimeOf(c container.Config) string {
	if c.Runtime != "" {
		return c.Runtime
	}
	runtime, err := sandbox.FindRuntime("")
	if err != nil {
		return "" // the container needs one, looking at it doesn't
	}
	return runtime.Name
}

// list gives an empty list for none.
func list(words []string) []string { return append([]string{}, words...) }

// extraHosts turns lines of /etc/hosts back into what --add-host takes.
func extraHosts(lines []string) []string {
	var hosts []string
	for _, line := range lines {
		address, name, _ := strings.Cut(line, "\t")
		hosts = append(hosts, name+":"+address)
	}
	return hosts
}

// networkMode is the word that --network was, or would have been, given.
func networkMode(n container.Network) string {
	if n.Container != "" {
		return "container:" + n.Container
	}
	if n.Mode == network.ModePrivate {
		return "bridge"
	}
	return string(n.Mode)
}

func newLogConfig(l container.LogOptions) logConfigObject {
	o := logConfigObject{Type: cmp.Or(l.Driver, log.DriverJSON), Config: map[string]string{}}
	if l.MaxSize > 0 {
		o.Config["max-size"] = strconv.FormatInt(l.MaxSize, 10)
	}
	if l.MaxFile > 0 {
		o.Config["max-file"] = strconv.Itoa(l.MaxFile)
	}
	return o
}

func securityOptions(c container.Config) []string {
	var options []string
	s := c.Spec.Security
	if s.NoNewPrivileges {
		options = append(options, "no-new-privileges")
	}
	switch {
	case s.NoSeccomp:
		options = append(options, "seccomp=unconfined")
	case s.Seccomp != "":
		options = append(options, "seccomp="+s.Seccomp)
	}
	if s.AppArmor != "" {
		options = append(options, "apparmor="+s.AppArmor)
	}
	return options
}

// addMounts tells of mounts as -v and --tmpfs would ask for them.
func (o *hostConfigObject) addMounts(mounts []container.Mount) {
	for _, m := range mounts {
		options := strings.Join(m.Options, ",")
		if m.Type == container.MountTmpfs {
			if o.Tmpfs == nil {
				o.Tmpfs = map[string]string{}
			}
			o.Tmpfs[m.Destination] = options
			continue
		}
		if m.Anonymous {
			continue
		}
		bind := cmp.Or(m.Name, m.Source) + ":" + m.Destination
		if mode := newMountObject(m).Mode; mode != "" {
			bind += ":" + mode
		}
		o.Binds = append(o.Binds, bind)
	}
}
