// Package transport brings images into a layout and out of it: Pull and Push by
// registries, Load and Save by archives, and Import from a tarball of a root
// file system.
//
// Blobs travel as they are. Nothing is packed or compressed again, so an image
// keeps its digest wherever it goes; what comes in is checked against its
// digest on the way. An image appears in the layout by one Commit at the end:
// what fails before leaves no name, only blobs that clean-up finds, for nothing
// is removed under the hands of another command that may have found it there.
package transport

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
)

// Options is what all transports share.
type Options struct {
	// Layout is where images come from or go to. Load needs one that can note
	// what is free.
	Layout *layout.Layout
	// Session names temporary files.
	Session string
	// TempDir is a private directory for them, on any file system.
	TempDir string
	// AuthFile holds credentials in the form of docker's config.json. Empty
	// stands for $REGISTRY_AUTH_FILE, else the usual places.
	AuthFile string
	// Creds is USER:PASSWORD, or USER with an empty password; it wins over
	// AuthFile.
	Creds string
	// TLSVerify says whether a registry must prove itself by TLS. Nil asks it
	// of all but those on a loopback address.
	TLSVerify *bool
	// PolicyFile is the policy.json that counts. Empty stands for the user's, else
	// the system's.
	PolicyFile string
	// Platform is OS/ARCH[/VARIANT]; an image for another one only is refused.
	// Empty stands for this machine's, and then such an image is taken.
	Platform string
	// Base says that the image is to be built upon: one for another platform than
	// this machine's takes no name from what has it, and is found by
	// layout.FindFor.
	Base bool
	// Patience is how long a registry may be silent before it is given up; zero
	// stands for half a minute. The pauses before further tries go with it.
	Patience time.Duration
	// Annotations are put on each image's descriptor in an archive's index.json.
	Annotations map[string]string
	// Known is a directory in which is kept where blobs have been seen in
	// registries. Empty keeps nothing.
	Known string
	// Conversion is what a push to a registry changes.
	Conversion
	// Passing says that an adopted image is for the command at hand alone: index.json
	// doesn't learn of it, and its blobs are free.
	Passing bool
	// All lets Push take all of an image's index, and else fail.
	All bool
	// Arrived is told of each image of an index when it has been pushed. It may be
	// nil.
	Arrived func(v1.Descriptor)
	// Report is told of each layer's way, one call at a time. It may be nil.
	Report func(Event)
}

// An EventKind is a point on a blob's way.
type EventKind int

// The points, in the order in which they occur. A blob that is where it should
// be already has Exists alone, and one that the registry has taken from another of
// its repositories ends with Mounted. A pull tells of all layers by Queued or Exists
// first, the lowest first, and of those by Waiting for which others are in the
// way. Retrying may come at any point; it has no digest where it isn't about a
// layer.
const (
	Started EventKind = iota
	Waiting
	Progress
	Done
	Exists
	Mounted
	Queued
	Retrying
)

// An Event tells how far one layer has come.
type Event struct {
	Kind   EventKind
	Digest digest.Digest
	Size   int64 // of the whole blob in bytes; -1 where unknown
	Offset int64 // bytes so far
	// From is the canonical name of the repository that it was mounted from.
	From string

	// Of Retrying: why, and how long it waits.
	Err   error
	Pause time.Duration
}

// There is a Progress event of a blob after so much time, and after so many
// bytes.
const (
	progressPause = 100 * time.Millisecond
	progressStep  = 256 << 10
)

// reporter makes calls of Report one at a time.
type reporter struct {
	mu     sync.Mutex
	report func(Event)
}

func (o Options) reporter() *reporter { return &reporter{report: o.Report} }

func (r *reporter) tell(e Event) {
	if r.report == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(e)
}

// layout gives the layout with the session in its temporary files' names.
func (o Options) layout() *layout.Layout { return o.Layout.WithSession(o.Session) }
