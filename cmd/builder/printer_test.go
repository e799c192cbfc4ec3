package main

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
)

const anID = digest.Digest("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

func TestProgressPrintsDockersLines(t *testing.T) {
	from, run := stage.Step{N: 1, Total: 2}, stage.Step{N: 2, Total: 2}
	const want = `Step 1/2 : FROM nginx
 ---> 881bd08c0b08
Step 2/2 : RUN echo 100% sure
 ---> Running in 0123456789ab
100% sure
 ---> Using cache
 ---> [Warning] careful
 ---> 4242424242ab
Successfully built 0123456789ab
Successfully tagged nginx:v2
`
	var out, notes bytes.Buffer
	p := &plainDisplay{out: &out, notes: &notes}
	for _, e := range []build.Event{
		stage.Started{Step: from, Text: "FROM nginx"},
		stage.Done{Step: from, ID: "881bd08c0b08"},
		stage.Started{Step: run, Text: "RUN echo 100% sure"},
		stage.Running{Step: run, ID: anID.Encoded()},
		stage.Output{Step: run, Line: "100% sure"},
		stage.Cached{Step: run},
		stage.Warning{Step: run, Text: "careful"},
		stage.Done{Step: run, ID: "4242424242ab"},
		build.Notice{Err: fault.New("do better", "by the way")},
		build.Built{ID: anID},
		build.Tagged{Name: "nginx:v2"},
	} {
		p.Report(e)
	}
	if out.String() != want {
		t.Errorf("printed:\n%s\nnot:\n%s", &out, want)
	}
	if notes.String() != "builder: by the way\n  do better\n" {
		t.Errorf("noted: %q", &notes)
	}
}

func TestProgressNamesTheStageWhereThereAreSeveral(t *testing.T) {
	at := stage.Step{Stage: "build", N: 3, Total: 7}
	var out bytes.Buffer
	p := &plainDisplay{out: &out}
	p.Report(stage.Started{Step: at, Text: "RUN make"})
	p.Report(stage.Output{Step: at, Line: "%s"})
	if want := "[build] Step 3/7 : RUN make\n[build] %s\n"; out.String() != want {
		t.Errorf("printed %q, not %q", &out, want)
	}
}

func TestProgressTellsThatNobodyReads(t *testing.T) {
	var told []error
	p := &plainDisplay{out: results{brokenPipe{}}, broken: func(err error) { told = append(told, err) }}
	p.Report(build.Built{ID: anID})
	p.Report(build.Tagged{Name: "x"})
	if len(told) != 1 || !errors.Is(p.Err(), errUnread) {
		t.Errorf("told %v, kept %v", told, p.Err())
	}
}

func TestRecordingReplaysInOrder(t *testing.T) {
	var r recording
	for n := range 3 {
		r.Report(stage.Cached{Step: stage.Step{N: n}})
	}
	var got []int
	r.replay(build.ReporterFunc(func(e build.Event) { got = append(got, e.(stage.Cached).N) }))
	for i, n := range got {
		if n != i {
			t.Fatalf("replayed %v", got)
		}
	}
	if len(got) != 3 {
		t.Fatalf("replayed %v", got)
	}
}

// brokenPipe is a pipe that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }
