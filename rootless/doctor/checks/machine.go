package checks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/isolation"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/userns"
)

// Machine is what is examined, and with what.
type Machine struct {
	Root, RunDir string // of the store
	Runtime      string // the one that is named, "" for none
	Driver       string // the storage driver that is named, "" for none
	Isolation    isolation.Asked
	Network      network.Choice // the configured one
	Registries   []string
	Configured   []string // files that the configuration was read from
	Mistake      error    // in the configuration
	// Open opens the store, and gives a directory in it that close removes.
	Open func(context.Context) (temp string, closed func() error, err error)
	// Ping asks a registry, and gives its clock's time, zero where that isn't known.
	Ping func(ctx context.Context, registry string) (time.Time, error)
	// Enter starts this command where builder works, in its user namespace or,
	// if that may be, without one. What it writes goes to out.
	Enter func(ctx context.Context, out *os.File) (code int, err error)
}

// Examine makes every check.
func (m Machine) Examine(ctx context.Context) Report {
	var c collected
	c.add(m.configuration())
	all(ctx, patience, append([]try{
		one("user-namespace", userNamespace),
		one("nested-namespace", nestedNamespace),
		one("newuidmap", tools),
		{"subordinate-ids", subordinateIDs},
		one("memory", memoryLeft),
		one("clock", m.clock),
	}, slices.Concat(limitTries(), m.registryTries())...), c.add)
	m.examineInside(ctx, &c)
	return reportOf(settle(byNetwork(m.Network, c.results)))
}

// configuration tells where it is read from, and of a mistake in it.
func (m Machine) configuration() Result {
	switch {
	case m.Mistake != nil:
		r := lacks("configuration", m.Mistake)
		if f := (*fault.Error)(nil); r.Remedy != "" && errors.As(m.Mistake, &f) && f.Place != "" {
			r.Remedy = "in " + f.Place + ": " + r.Remedy // below the table it stands alone
		}
		return r
	case len(m.Configured) == 0:
		return ok("configuration", "there is no file; none is needed")
	}
	return ok("configuration", "%s", strings.Join(m.Configured, ", "))
}

// collected are the results so far.
type collected struct {
	sync.Mutex
	results []Result
}

func (c *collected) add(results ...Result) {
	c.Lock()
	defer c.Unlock()
	c.results = append(c.results, results...)
}

func (c *collected) of(name string) Result {
	c.Lock()
	defer c.Unlock()
	return find(c.results, name)
}

func find(results []Result, name string) Result {
	for _, r := range results {
		if r.Check == name {
			return r
		}
	}
	return Result{}
}

// inside are the checks of ExamineInside.
var inside = []string{
	"mapping", "pid-namespace", "store", "lock", "disk", "space", "fuse-overlayfs", "overlay", "crun", "runc", "isolation",
	"pasta", "slirp4netns", "emulators",
}

// examineInside has ExamineInside called where builder works.
func (m Machine) examineInside(ctx context.Context, c *collected) {
	code, err := m.enter(ctx, c)
	missing := needsNamespace
	if err != nil {
		c.add(lacks("isolation", err))
		m.openOutside(ctx, c)
		if c.of("user-namespace").State == OK {
			missing = "builder doesn't get into its user namespace: see isolation"
		}
	}
	for _, name := range inside {
		switch {
		case c.of(name).Check != "":
		case err != nil:
			c.add(skipped(name, missing))
		default:
			c.add(lacks(name, fmt.Errorf("the process that tries it has ended before it could tell (exit code %d)", code)))
		}
	}
}

// openOutside tells of the store where builder itself can't go.
func (m Machine) openOutside(ctx context.Context, c *collected) {
	_, closed, err := m.openPatiently(ctx)
	if err != nil {
		c.add(lacks("store", err))
		return
	}
	_ = closed()
	c.add(ok("store", "%s", m.Root), m.space())
}

const needsNamespace = "it needs a user namespace"

// mapped tells of the ids that builder works with.
func mapped(m userns.Mapping) Result {
	if m.Plain() {
		return skipped("mapping", needsNamespace)
	}
	if m.Notice != nil {
		return lacks("mapping", m.Notice)
	}
	ids := uint64(0)
	for _, r := range m.UIDs {
		ids += uint64(r.Size)
	}
	if ids == 1 {
		return about("mapping").result(Less, "a single id, which is all there is")
	}
	return ok("mapping", "%d ids", ids)
}

// enterPatience is how long all checks inside may take.
const enterPatience = patience + patience/2

func (m Machine) enter(ctx context.Context, c *collected) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var result Result
			if json.Unmarshal(lines.Bytes(), &result) == nil {
				c.add(result)
			}
		}
	}()
	code, err = m.Enter(ctx, w)
	_ = w.Close()
	<-read
	return code, err
}

// ExamineInside makes the checks of who works on file systems, and writes each
// result to w, one a line.
func (m Machine) ExamineInside(ctx context.Context, w io.Writer) error {
	mapping, err := userns.Current()
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	var failed error
	report := func(results ...Result) {
		for _, r := range results {
			if err := encoder.Encode(r); failed == nil {
				failed = err
			}
		}
	}
	report(mapped(mapping), pidNamespace(mapping))
	temp, closed, err := m.openPatiently(ctx)
	if err != nil {
		report(m.withoutStore(err)...)
		return failed
	}
	defer func() { _ = closed() }()
	report(ok("store", "%s", m.Root), m.space())
	p := probe{m, temp, mapping}
	all(ctx, patience, []try{
		one("lock", p.locks),
		one("disk", p.disk),
		one("fuse-overlayfs", p.mounting("fuse-overlayfs", p.fuse)),
		one("overlay", p.mounting("overlay", p.overlay)),
		{"isolation", p.runtimes},
		one("pasta", p.confined("pasta", p.network("pasta"))),
		one("slirp4netns", p.confined("slirp4netns", p.network("slirp4netns"))),
		one("emulators", p.confined("emulators", p.emulators)),
	}, report)
	return failed
}

// probe is what the checks inside share.
type probe struct {
	Machine
	temp    string // a directory in the store
	mapping userns.Mapping
}

// dir makes a directory that no other check uses.
func (p probe) dir(name string) (string, error) { return os.MkdirTemp(p.temp, "doctor-"+name+"-") }

func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "; ")
}

// confined is a check that needs a user namespace.
func (p probe) confined(name string, do func(context.Context) Result) func(context.Context) Result {
	if p.mapping.Plain() {
		return func(context.Context) Result { return skipped(name, needsNamespace) }
	}
	return do
}

// mounting is a check that needs mounts of its own.
func (p probe) mounting(name string, do func(context.Context) Result) func(context.Context) Result {
	if !userns.MountNamespace() {
		return func(context.Context) Result { return skipped(name, "nothing can be mounted here") }
	}
	return do
}
