package build

import (
	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/stage"
)

// Event is something that happens in a build and that a user may want to see.
// The types below and those of package stage are all there are.
type Event = stage.Event

// Reporter takes the events of a build. Report is called from several
// goroutines, one event at a time for each step.
type Reporter interface {
	Report(Event)
}

// ReporterFunc makes a function a Reporter.
type ReporterFunc func(Event)

// Report calls f.
func (f ReporterFunc) Report(e Event) { f(e) }

// Built says that the image is complete.
type Built struct{ ID digest.Digest }

// Tagged says that a name now means the image. Name is in its familiar form.
type Tagged struct{ Name string }

// Notice is something that the user should know and that belongs to no step,
// such as what the build goes on without. It is told as errors are, with the
// remedy.
type Notice struct{ Err error }

// Fetching says that a build context is brought from elsewhere. Ref is what the
// user named, without passwords.
type Fetching struct{ Ref string }

// StageDone is sent when the last step of a stage has ended well.
type StageDone struct{ stage.Step }

// Packing says that all steps are done, and that layers are still being packed.
type Packing struct{ Layers int }

// Fetched says that a build context is there.
type Fetched struct{ Ref string }
