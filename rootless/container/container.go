// Package container keeps containers: a program in a sandbox, watched by a
// monitor that records how it fares.
//
// The monitor is the process that calls [Run]; it is process 1 of the user,
// mount and pid namespaces that the container lives in, so that the container
// can't outlive it. Each container has a directory of its own:
//
//	<id>/config.json  what was asked for; written once
//	<id>/state.json   how far it has come; replaced at each change
//	<id>/lock         locked by the living monitor
//
// It is made under another name, and has its own when it is whole and locked.
package container

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/builder-oci/builder/internal/atomicfile"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"golang.org/x/sys/unix"
)

// Config is what a container was made with.
type Config struct {
	ID        string         `json:"id"` // 64 hexadecimal digits, see NewID
	Name      string         `json:"name,omitempty"`
	Image     string         `json:"image,omitempty"`
	ImageID   string         `json:"image_id,omitempty"`
	Layer     string         `json:"layer,omitempty"` // what it changes, as the storage calls it
	Spec      sandbox.Spec   `json:"spec"`
	Ports     []network.Port `json:"ports,omitempty"`
	Remove    bool           `json:"remove,omitempty"` // leave nothing at the end
	CreatedAt time.Time      `json:"created_at"`
}

// Status is how far a container has come.
type Status string

// The statuses, in their order.
const (
	StatusCreated Status = "created"
	StatusRunning Status = "running"
	StatusExited  Status = "exited"
)

// State is how a container fares.
type State struct {
	Status     Status    `json:"status"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	ExitCode   int       `json:"exit_code"`
	OOMKilled  bool      `json:"oom_killed,omitempty"`
	Error      string    `json:"error,omitempty"` // why the program couldn't be run
}

// Streams are the container's standard streams; nil ones are empty or dropped.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Signals are passed on to the program; see Catch. Where it is nil, Run
	// takes this process's for its time.
	Signals <-chan os.Signal
}

// NewID makes an identifier that no other container has.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Load reads what is known of a container in the directory dir of all
// containers. A container whose monitor was killed counts as exited.
func Load(dir, id string) (Config, State, error) {
	var c Config
	var s State
	own := filepath.Join(dir, id)
	if err := readJSON(filepath.Join(own, configFile), &c); err != nil {
		return c, s, err
	}
	if err := readJSON(filepath.Join(own, stateFile), &s); err != nil {
		return c, s, err
	}
	if s.Status != StatusExited {
		if lock, err := lockDir(own); err == nil {
			_ = lock.Close()
			s.Status, s.ExitCode, s.Error = StatusExited, 128+int(unix.SIGKILL), "the monitor was killed"
		}
	}
	return c, s, nil
}

const (
	configFile = "config.json"
	stateFile  = "state.json"
	lockFile   = "lock"
)

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}
