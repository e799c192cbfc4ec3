package stage

import (
	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/snapshot"
)

// Event is something that happens in a step and that a user may want to see:
// one of the types below.
type Event any

// Step says which step an event belongs to.
type Step struct {
	// Stage is the stage's name, or its number where it has none.
	Stage string
	// N counts the steps of the whole build from 1 to Total.
	N, Total int
	// Of is the number of steps of the stage alone.
	Of int
	// Place is where the instruction stands in the Dockerfile.
	Place Place
}

// Place is an instruction of a stage. N counts from 0, with the triggers of the
// stage's base first; FROM has -1.
type Place struct{ Stage, N int }

// Started is sent when a step begins. Text is its instruction on one line.
type Started struct {
	Step
	Text string
}

// Running is sent when a step enters the sandbox. ID is the sandbox's.
type Running struct {
	Step
	ID string
}

// Output is one line of what a step printed, without its end. A line without
// an end that stands for long is sent in pieces.
type Output struct {
	Step
	Line   string
	Stderr bool
}

// Standing is the end of a line that a step has begun to print: a prompt, or
// the progress that a tool writes over itself by carriage returns. It comes
// with every write.
type Standing struct {
	Step
	Text string
}

// Waiting is sent when a step can't go on by itself: another stage isn't built, a
// build elsewhere makes the same step, all job slots are taken.
type Waiting struct {
	Step
	For string // the stage's name, or its number, or other words; "" says that it is there
}

// Copied tells how far a COPY or ADD of many bytes has come.
type Copied struct {
	Step
	Bytes, Total int64
}

// Cached is sent when a step's result was found. Key is the step's, Parent the
// one that it was made from.
type Cached struct {
	Step
	Key, Parent digest.Digest
}

// Missed is sent when a step has to be executed, and says why.
type Missed struct {
	Step
	Reason Reason
}

// Done is sent when a step ended well. ID is the image's id after FROM and
// the step's id, its key's first 12 digits, elsewhere.
type Done struct {
	Step
	ID string
}

// StepFailed is sent when a step ended in an error that is its own: not for the
// failure of another.
type StepFailed struct{ Step }

// Warning is something that the user should know about a step.
type Warning struct {
	Step
	Text string
}

// Made is sent when a step that changes files was executed. Key is the step's,
// Parent the one that it was made from, and Tree what it made.
type Made struct {
	Step
	Key, Parent digest.Digest
	Tree        snapshot.Key
}
