package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/cmd/builder/live"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// The forms in which a build is shown.
const (
	progressAuto  = "auto"
	progressTTY   = "tty"
	progressPlain = "plain"
	progressQuiet = "quiet"
)

const (
	// progressEnv chooses the form where --progress doesn't.
	progressEnv = "BUILDER_PROGRESS"
	// buildkitProgressEnv does where that doesn't either: docker's users have it.
	buildkitProgressEnv = "BUILDKIT_PROGRESS"
	// begunEnv tells the process in the namespace when the command began, in
	// nanoseconds since 1970.
	begunEnv = "_BUILDER_BEGUN"
)

func progressFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "progress", Hidden: true, Usage: "show the build as `FORM`: auto, tty, plain or quiet",
		Action: func(c *cli.Context, _ string) error {
			_, err := progressForm(c)
			return err
		},
	}
}

// display shows a build while it goes on.
type display interface {
	build.Reporter
	// transfer shows an image on its way into the store.
	transfer(canonical string) transfer
	// settle ends the showing. It gives err, with which the build has ended,
	// without what has been shown of it.
	settle(err error) error
	// discard ends it for a build that is begun anew.
	discard()
	// Err is the first error of writing.
	Err() error
}

// transfer shows an image on its way.
type transfer interface {
	report(transport.Event)
	// arrived ends it well: now the store has img, which is new or isn't.
	arrived(img layout.Image, isNew bool) error
}

// progress is how a build is shown, and where.
type progress struct {
	title string // what goes on, in few words
	form  string
	file  *os.File // where it is shown
	out   io.Writer
	notes io.Writer // warnings
	begun time.Time
	// summary is to be written at the end; nil for none.
	summary *summary
}

// newProgress settles the form. What goes on is shown on the standard output, or
// on the other one where that takes a result.
func newProgress(c *cli.Context, title string, taken bool) (*progress, error) {
	p := &progress{title: title, file: os.Stdout, out: c.App.Writer, notes: c.App.ErrWriter, begun: time.Now()}
	if taken {
		p.file, p.out = os.Stderr, c.App.ErrWriter
	}
	if file := c.String(flagSummary); file != "" {
		p.summary = &summary{file: file, title: title}
	}
	if n, err := strconv.ParseInt(os.Getenv(begunEnv), 10, 64); err == nil {
		p.begun = time.Unix(0, n)
	}
	var err error
	if p.form, err = progressForm(c); err != nil {
		return nil, err
	}
	if path := c.String(flagLogfile); path != "" {
		return p, p.logTo(path)
	}
	switch {
	case p.form == progressAuto && canDraw(c, p.file):
		p.form = progressTTY
	case p.form == progressAuto:
		p.form = progressPlain
	case p.form == progressTTY && !isTerminal(p.file):
		p.form = progressPlain
		tell(c.App.ErrWriter, fault.New("", "--progress tty: going on with plain, for the output is no terminal"))
	}
	if p.form == progressQuiet {
		p.out = io.Discard
	}
	return p, nil
}

// logTo has a build told line by line in a file, behind what that holds. It is
// open as long as the process lives. The process in the namespace opens it again.
func (p *progress) logTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fault.New("", "--%s: %w", flagLogfile, err)
	}
	p.out, p.notes = f, f
	if p.form != progressQuiet {
		p.form = progressPlain
	}
	return nil
}

// progressForm reads flags and environment.
func progressForm(c *cli.Context) (string, error) {
	form, from := c.String("progress"), "--progress"
	if c.Bool("quiet") {
		if form != "" && form != progressAuto && form != progressQuiet {
			return "", usageError(c.Command.HelpName, "--progress %s and --quiet can't be used together", form)
		}
		return progressQuiet, nil
	}
	if form == "" {
		form, from = os.Getenv(progressEnv), progressEnv
	}
	if form == "" {
		form = os.Getenv(buildkitProgressEnv)
		if !isProgressForm(form) {
			form = progressAuto // it isn't about builder
		}
	}
	switch {
	case form == "rawjson":
		return "", fault.NotYet(from + " " + form)
	case !isProgressForm(form):
		return "", usageError(c.Command.HelpName, "%s %q is none of auto, tty, plain, quiet", from, form)
	}
	return form, nil
}

func isProgressForm(s string) bool {
	return slices.Contains([]string{progressAuto, progressTTY, progressPlain, progressQuiet}, s)
}

// canDraw says whether a view of the build makes sense: somebody sits at the
// terminal, which can move its cursor, and wants no log among the steps.
func canDraw(c *cli.Context, f *os.File) bool {
	term := os.Getenv("TERM")
	ci := os.Getenv("CI")
	level := c.String(flagLogLevel)
	return isTerminal(f) && term != "" && term != "dumb" && (ci == "" || ci == "false") &&
		level != "debug" && level != "info" && inForeground(f)
}

// inForeground says whether the terminal is this process's, and not a shell's
// that has it in the background. A terminal that isn't the controlling one has
// no foreground.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// env tells the process in the namespace what is settled already.
func (p *progress) env() []string {
	return []string{progressEnv + "=" + p.form, begunEnv + "=" + strconv.FormatInt(p.begun.UnixNano(), 10)}
}

// display begins to show a build. One that may be begun anew is kept off the
// terminal's scroll-back.
func (p *progress) display(c *cli.Context, anew bool, broken func(error)) display {
	shown := p.shown(c, anew, broken)
	if p.summary != nil {
		return summed{shown, p.summary}
	}
	return shown
}

func (p *progress) shown(c *cli.Context, anew bool, broken func(error)) display {
	if p.form == progressTTY {
		return newLiveDisplay(c, p, anew, broken)
	}
	plain := &plainDisplay{out: p.out, notes: p.notes, explain: c.Bool("explain"), broken: broken}
	if anew {
		return &laterDisplay{plain: plain}
	}
	return plain
}

// finish prints a build's last line: what was built, its size, how many of its
// steps were in the cache, and how long it took.
func (p *progress) finish(store *storage.Store, names []string, r build.Result) error {
	parts := []string{"Built"}
	if r.ID == "" {
		parts = []string{"Exported the file system"}
	} else {
		if len(names) > 0 {
			parts[0] += " " + strings.Join(familiar(names), ", ")
		}
		parts[0] += " " + format.ShortID(r.ID)
		if img, err := store.Layout().Find(r.ID.String()); err == nil {
			parts = append(parts, format.Size(img.Size))
		}
	}
	if r.Steps > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s cached", r.Cached, count(r.Steps, "step")))
	}
	parts = append(parts, live.Duration(time.Since(p.begun)))
	line := strings.Join(parts, ", ")
	if p.summary != nil {
		p.summary.built = line
	}
	if p.form == progressQuiet {
		return nil
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}

func familiar(names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = layout.Familiar(name)
	}
	return short
}
