// Package container keeps containers: a program in a sandbox, watched by a
// monitor that serves whoever wants to look at it, and records how it fares.
//
// The monitor is the process that calls [Monitor.Run]; it is process 1 of the
// user, mount and pid namespaces that the container lives in, so that the
// container can't outlive it. Each container has a directory of its own:
//
//	<id>/config.json  what was asked for; replaced when it gets another name
//	<id>/state.json   how far it has come; replaced at each change
//	<id>/lock         locked by the living monitor
//	<id>/sock         the monitor's socket, see Dial
//	<id>/run/         the monitor's private tmpfs: the runtime's own files
//	<id>/log          what the program printed
//	<id>/monitor.log  what the monitor itself had to say
//
// It is made under another name, and has its own when it is whole and locked.
// Of a container's file system this package knows a [Root] alone.
package container

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/builder-oci/builder/rootless/container/log"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

// Config is what a container was made with.
type Config struct {
	ID      string `json:"id"` // 64 hexadecimal digits, see NewID
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"` // as the user named it
	ImageID string `json:"image_id,omitempty"`
	// Runtime is the OCI runtime that was chosen for it; "" for the best.
	Runtime string `json:"runtime,omitempty"`
	// Isolation is the level that was asked for, as it was written; "" for the best.
	Isolation string `json:"isolation,omitempty"`
	// Settings is the image's config with what was asked for in its place, as
	// the storage writes it.
	Settings json.RawMessage `json:"settings,omitempty"`

	Spec    sandbox.Spec      `json:"spec"`
	Network Network           `json:"network,omitzero"`
	Ports   []network.Port    `json:"ports,omitempty"` // as asked for; State has those that were given
	Mounts  []Mount           `json:"mounts,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Restart Restart           `json:"restart,omitzero"`
	Log     LogOptions        `json:"log,omitzero"`
	// Authorities are certificates in PEM form that its programs are to trust.
	Authorities string `json:"authorities,omitempty"`

	// What inspect tells as it was asked for: Spec has the groups' ids, Ports the ports.
	GroupAdd   []string `json:"group_add,omitempty"`
	PublishAll bool     `json:"publish_all,omitempty"`

	StopSignal  string `json:"stop_signal,omitempty"`  // "" stands for SIGTERM
	StopTimeout *int   `json:"stop_timeout,omitempty"` // seconds, -1 for ever; nil stands for 10
	Terminal    bool   `json:"terminal,omitempty"`
	OpenStdin   bool   `json:"open_stdin,omitempty"`
	StdinOnce   bool   `json:"stdin_once,omitempty"` // the first attached client's end is its end
	KeepID      bool   `json:"keep_id,omitempty"`    // the user has his own id inside
	Init        bool   `json:"init,omitempty"`       // an init starts the program
	Remove      bool   `json:"remove,omitempty"`     // leave nothing at the end

	CreatedAt time.Time `json:"created_at"`

	// Damage says why this couldn't be read, "" where it could. What the container
	// has written is there, but nobody knows how to run it.
	Damage string `json:"-"`
}

// Network is what a container was to be connected to.
type Network struct {
	Mode   network.Mode `json:"mode,omitempty"`
	Helper string       `json:"helper,omitempty"` // that carries a private network
	// Container is the id of the one whose network this one shares.
	Container string      `json:"container,omitempty"`
	DNS       network.DNS `json:"dns,omitzero"`
	AddHosts  []string    `json:"add_hosts,omitempty"` // lines of /etc/hosts: address, tab, name
}

// Policy says when a container whose program has ended is started again.
type Policy string

// The policies.
const (
	RestartNo            Policy = "no"
	RestartAlways        Policy = "always"
	RestartUnlessStopped Policy = "unless-stopped"
	RestartOnFailure     Policy = "on-failure"
)

// Restart is a policy with its limit.
type Restart struct {
	Policy  Policy `json:"policy,omitempty"`
	Retries int    `json:"retries,omitempty"` // of RestartOnFailure; 0 for no limit
}

// LogOptions say what is kept of the program's output.
type LogOptions = log.Options

// Status is how far a container has come.
type Status string

// The statuses. A container is dead whose monitor was killed.
const (
	StatusCreated    Status = "created"
	StatusRunning    Status = "running"
	StatusPaused     Status = "paused"
	StatusRestarting Status = "restarting"
	StatusExited     Status = "exited"
	StatusDead       Status = "dead"
)

// State is how a container fares.
type State struct {
	Status     Status         `json:"status"`
	StartedAt  time.Time      `json:"started_at,omitzero"`
	FinishedAt time.Time      `json:"finished_at,omitzero"`
	ExitCode   int            `json:"exit_code"`
	OOMKilled  bool           `json:"oom_killed,omitempty"`
	Error      string         `json:"error,omitempty"` // why the program couldn't be run
	Ports      []network.Port `json:"ports,omitempty"` // with the host's ports that were given
	IP         string         `json:"ip,omitempty"`    // in a private network
	Files      Files          `json:"files,omitzero"`
	Restarts   int            `json:"restarts,omitempty"`
	Boot       string         `json:"boot,omitempty"` // the machine's boot that this is of
	// Waits says that it was made to be started later, and stays until then, even
	// where Config.Remove has it leave nothing at its end.
	Waits bool `json:"waits,omitempty"`

	// Damage says why this couldn't be read, "" where it could. The container can be
	// started.
	Damage string `json:"-"`
}

// Files are those in a container that tell of its network, as they were made.
// Containers that share the network have the same.
type Files struct {
	Resolv []byte `json:"resolv,omitempty"` // /etc/resolv.conf
	Hosts  []byte `json:"hosts,omitempty"`  // /etc/hosts
}

// Lives tells whether there is a program, or is going to be one again.
func (s State) Lives() bool {
	return s.Status == StatusRunning || s.Status == StatusPaused || s.Status == StatusRestarting
}

// NewID makes an identifier that no other container has.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

const (
	configFile = "config.json"
	stateFile  = "state.json"
	lockFile   = "lock"
	socketFile = "sock"
	runDir     = "run"
)
