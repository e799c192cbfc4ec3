package main

import (
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
)

// containerRequest is what the user asks of a new container, as run and create
// read it from their flags. It goes to the container's monitor as JSON: what a
// path names is absolute, what a file held has been read.
type containerRequest struct {
	Image    string // as the user wrote it
	Platform string // of --platform, or ""
	Pull     pullPolicy
	Quiet    bool // nothing is told of the pull
	Args     []string
	// Entrypoint takes the image's place where it is not nil; [] is none.
	Entrypoint []string `json:",omitempty"`
	ResetEntry bool     `json:",omitempty"` // --entrypoint was given, and was empty
	Env        []string
	Labels     map[string]string
	Proxies    []string // NAME=VALUE, for what doesn't set it itself
	// Authorities are certificates that its programs are to trust, in PEM form.
	Authorities []byte `json:",omitempty"`
	Workdir     string
	User        string
	Groups      []string // --group-add: names or numbers
	Name        string
	Hostname    string

	Network    container.Network // Mode "" is left to the machine
	Ports      []network.Port
	PublishAll bool
	Expose     []string // PORT/PROTOCOL, beside the image's
	Mounts     []container.Mount

	Ulimits        []sandbox.Ulimit
	ShmSize        int64
	Limits         cgroup.Limits
	CapAdd         []string
	CapDrop        []string
	Security       sandbox.Security
	Privileged     bool
	EmulateIDs     bool
	ReadOnly       bool
	Init           bool
	Terminal       bool
	Interactive    bool
	Remove         bool
	KeepID         bool
	SharedKeepID   bool // so has the user namespace in which the container is to run
	CallerUID      int  // of the user, with KeepID
	CallerGID      int
	Detached       bool // nobody is attached at the start
	Restart        container.Restart
	StopSignal     string
	StopTimeout    *int
	Log            container.LogOptions
	NoHealthcheck  bool
	Devices        []stage.HostDevice
	Sysctls        map[string]string
	OOMScoreAdj    int
	AttachedStdin  bool
	AttachedStdout bool
	AttachedStderr bool
	DetachKeys     []byte
	SigProxy       bool   // signals to the client are for the program
	CIDFile        string // as written, for the client; "" for none
}
