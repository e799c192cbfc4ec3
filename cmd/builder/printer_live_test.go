package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/stage"
)

func TestLiveDisplayShowsEvents(t *testing.T) {
	begun := time.Unix(1_700_000_000, 0)
	at := func(n int) stage.Step {
		return stage.Step{Stage: "app", N: n, Total: 6, Of: 6, Place: stage.Place{N: n - 2}}
	}
	const want = `app  2/6, 1 cached                                              waits for tools
  + FROM nginx                                                             0.0s
  + RUN known                                                            cached
  > RUN make                                                               2.0s
      Not cached: the record of the last build is gone
      [Warning] careful
      a line
      half a li
  > COPY . .                                                               2.0s
      [##########                            ] 25MB / 100MB
  . COPY --from=tools / /
> packing 3 layers                                                         2.0s
+ fetched the build context x.git                                          0.0s
Building 2/6 steps, 1 cached                                               2.0s`
	m := &live.Model{Title: "Building", Begun: begun}
	d := &liveDisplay{}
	for _, e := range []build.Event{
		build.Packing{Layers: 3},
		build.Fetching{Ref: "x.git"},
		build.Fetched{Ref: "x.git"},
		stage.Started{Step: at(1), Text: "FROM nginx"},
		stage.Done{Step: at(1), ID: "881bd08c0b08"},
		stage.Started{Step: at(2), Text: "RUN known"},
		stage.Cached{Step: at(2)},
		stage.Done{Step: at(2)},
		stage.Started{Step: at(3), Text: "RUN make"},
		stage.Missed{Step: at(3), Reason: stage.Reason{Cause: stage.CauseForgotten}},
		stage.Warning{Step: at(3), Text: "careful"},
		stage.Running{Step: at(3)},
		stage.Output{Step: at(3), Line: "a line"},
		stage.Standing{Step: at(3), Text: "half a li"},
		stage.Started{Step: at(4), Text: "COPY . ."},
		stage.Waiting{Step: at(4), For: "tools"},
		stage.Copied{Step: at(4), Bytes: 25e6, Total: 100e6},
		stage.Started{Step: at(5), Text: "COPY --from=tools / /"},
		stage.Waiting{Step: at(5), For: "tools"},
	} {
		d.change(m, begun, e)
	}
	screen := strings.Join(live.Style{}.Screen(m, live.Size{Width: 80, Height: 24}, begun.Add(2*time.Second)), "\n")
	if screen != want {
		t.Errorf("the screen is\n%s\nnot\n%s", screen, want)
	}
}

// readForm gives the form that a command line asks for.
func readForm(args ...string) (form string, err error) {
	err = readLine(newApp(io.Discard, io.Discard), "bud", args, func(c *cli.Context) error {
		form, err = progressForm(c)
		return err
	})
	return form, err
}

func TestProgressFormFollowsFlagsThenEnvironment(t *testing.T) {
	for _, test := range []struct{ line, ours, docker, want string }{
		{"", "", "", "auto"},
		{"", "", "plain", "plain"},
		{"", "", "rawjson", "auto"},
		{"", "tty", "plain", "tty"},
		{"--progress=auto", "tty", "plain", "auto"},
		{"--progress=tty", "", "plain", "tty"},
		{"-q", "plain", "plain", "quiet"},
		{"--progress quiet", "plain", "", "quiet"},
	} {
		t.Setenv(progressEnv, test.ours)
		t.Setenv(buildkitProgressEnv, test.docker)
		if got, err := readForm(append(strings.Fields(test.line), ".")...); got != test.want || err != nil {
			t.Errorf("%+v is %q: %v", test, got, err)
		}
	}
	t.Setenv(progressEnv, "fancy")
	if _, err := readForm("."); err == nil || !strings.Contains(err.Error(), `BUILDER_PROGRESS "fancy" is none of`) {
		t.Errorf("the error is %v", err)
	}
}
