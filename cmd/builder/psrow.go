package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/storage/layout"
)

// containerRow is one line of ps. Its methods are what templates name.
type containerRow struct {
	container.Found
	list               *containerList
	image              string // the name that it was made by, or else the id
	written, imageSize int64
	sizeAsked          *bool // told that Size was
}

var containerHeadings = map[string]string{
	"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
	"Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Names": "NAMES", "Labels": "LABELS",
	"Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
}

// Docker shows so much of a command, and of a mount.
const (
	commandCells = 20
	mountCells   = 15
)

// ID is the container's.
func (r containerRow) ID() string {
	if r.list.whole {
		return r.Config.ID
	}
	return r.Config.ID[:min(len(r.Config.ID), format.ShortLen)]
}

// Image is what it was made from.
func (r containerRow) Image() string {
	switch {
	case r.image == "":
		return "<no image>"
	case r.list.whole:
		return r.image
	case r.image == r.Config.ImageID:
		id := strings.TrimPrefix(r.image, "sha256:")
		return id[:min(len(id), format.ShortLen)]
	}
	name, _, _ := strings.Cut(r.image, "@")
	return layout.Familiar(name)
}

// Command is what runs in it, in quotes.
func (r containerRow) Command() string {
	words := make([]string, 0, len(r.Config.Spec.Args))
	for i, word := range r.Config.Spec.Args {
		if i > 0 && strings.Contains(word, " ") {
			word = "'" + word + "'"
		}
		words = append(words, word)
	}
	text := strings.Join(words, " ")
	if !r.list.whole {
		text = format.Ellipsis(text, commandCells)
	}
	return strconv.Quote(text)
}

// CreatedAt is when it was made.
func (r containerRow) CreatedAt() string { return time.Unix(r.Config.CreatedAt.Unix(), 0).String() }

// RunningFor is how long ago that was.
func (r containerRow) RunningFor() string { return format.Ago(r.Config.CreatedAt, r.list.now) }

// Ports are those that it publishes, and those that its image tells of.
func (r containerRow) Ports() string { return portList(r.ports(), r.exposed()) }

// ports are those that are published now.
func (r containerRow) ports() []network.Port {
	if r.Found.State.Status != container.StatusRunning && r.Found.State.Status != container.StatusPaused {
		return nil
	}
	return r.Found.State.Ports
}

// exposed are the ports that the image, or the user, says that the program serves.
func (r containerRow) exposed() []network.Port {
	if r.Config.Network.Mode != network.ModePrivate || r.Found.State.Status != container.StatusRunning && r.Found.State.Status != container.StatusPaused {
		return nil
	}
	var settings struct{ ExposedPorts map[string]struct{} }
	if json.Unmarshal(r.Config.Settings, &settings) != nil {
		return nil
	}
	var ports []network.Port
	for text := range settings.ExposedPorts {
		if first, last, proto, ok := portRange(text); ok {
			ports = append(ports, portsIn(first, last, proto)...)
		}
	}
	return ports
}

// State is docker's word for how it fares.
func (r containerRow) State() string { return string(r.Found.State.Status) }

// Status is how it fares, and since when.
func (r containerRow) Status() string { return containerStatus(r.Found.State, r.list.now) }

// containerStatus puts a state into docker's words.
func containerStatus(s container.State, now time.Time) string {
	switch s.Status {
	case container.StatusRunning:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt))
	case container.StatusPaused:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt)) + " (Paused)"
	case container.StatusRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
	case container.StatusDead:
		return "Dead"
	case container.StatusExited:
		if s.FinishedAt.IsZero() {
			return ""
		}
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
	}
	return "Created"
}

// Size is what it has written and, in parentheses, with its image.
func (r containerRow) Size() string {
	if r.sizeAsked != nil {
		*r.sizeAsked = true
	}
	text := format.Size(r.written)
	if whole := r.written + r.imageSize; r.list.sized && whole > 0 {
		text += " (virtual " + format.Size(whole) + ")"
	}
	return text
}

// Names is what it is called.
func (r containerRow) Names() string { return r.Config.Name }

// Labels are all of them.
func (r containerRow) Labels() string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(r.Config.Labels)) {
		list = append(list, key+"="+r.Config.Labels[key])
	}
	return strings.Join(list, ",")
}

// Label is the value of one.
func (r containerRow) Label(name string) string { return r.Config.Labels[name] }

// Mounts are the volumes' names and the directories of this host that it sees.
func (r containerRow) Mounts() string {
	var list []string
	for _, m := range r.Config.Mounts {
		name := m.Source
		if m.Name != "" {
			name = m.Name
		}
		if m.Type == "tmpfs" {
			continue // which docker doesn't tell of
		}
		if !r.list.whole {
			name = format.Ellipsis(name, mountCells)
		}
		list = append(list, name)
	}
	return strings.Join(list, ",")
}

// LocalVolumes is how many volumes it has.
func (r containerRow) LocalVolumes() string {
	n := 0
	for _, m := range r.Config.Mounts {
		if m.Type == "volume" {
			n++
		}
	}
	return strconv.Itoa(n)
}

// Networks is docker's name of the one that it is connected to.
func (r containerRow) Networks() string { return networkName(r.Config.Network) }

// networkName gives docker's word; a container that is in another one's network
// has none of its own.
func networkName(n container.Network) string {
	switch {
	case n.Container != "":
		return ""
	case n.Mode == network.ModePrivate:
		return "bridge"
	}
	return string(n.Mode)
}

// MarshalJSON gives docker's fields.
func (r containerRow) MarshalJSON() ([]byte, error) {
	return format.MarshalFields(struct {
		Command, CreatedAt, ID, Image, Labels, LocalVolumes, Mounts, Names, Networks, Ports, RunningFor, Size, State, Status string
	}{
		r.Command(), r.CreatedAt(), r.ID(), r.Image(), r.Labels(), r.LocalVolumes(), r.Mounts(), r.Names(),
		r.Networks(), r.Ports(), r.RunningFor(), r.Size(), r.State(), r.Status(),
	})
}
