package checks

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
)

// Machine is what is examined, and with what.
type Machine struct {
	Root, RunDir string // of the store
	Runtime      string // the one that is named, "" for none
	Registries   []string
	// Open opens the store, and gives a directory in it that close removes.
	Open func(context.Context) (temp string, closed func() error, err error)
	// Ping asks a registry, and gives its clock's time, zero where that isn't known.
	Ping func(ctx context.Context, registry string) (time.Time, error)
	// Enter starts this command inside the user namespace, with a single id or
	// with all there are, and what it writes goes to out.
	Enter func(ctx context.Context, single bool, out *os.File) (code int, err error)
}

// Examine makes every check.
func (m Machine) Examine(ctx context.Context) Report {
	var c collected
	all(ctx, append([]try{
		one("user-namespace", userNamespace),
		one("nested-namespace", nestedNamespace),
		one("newuidmap", tools),
		{"subordinate-ids", subordinateIDs},
		one("memory", memoryLeft),
		one("clock", m.clock),
	}, slices.Concat(limitTries(), m.registryTries())...), c.add)
	if c.of("user-namespace").State == OK {
		m.examineInside(ctx, &c)
	} else {
		m.withoutNamespace(ctx, &c)
	}
	return reportOf(settle(c.results))
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
	"pid-namespace", "store", "lock", "disk", "space", "fuse-overlayfs", "overlay", "crun", "runc", "pasta", "slirp4netns", "emulators",
}

// examineInside has ExamineInside called in the namespace, with the ids that
// builder would take, or else with one.
func (m Machine) examineInside(ctx context.Context, c *collected) {
	mapping, err := userns.Detect()
	var code int
	if err == nil {
		code, err = m.enter(ctx, false, c)
	}
	if err == nil {
		c.add(mapped(mapping))
	} else {
		c.add(lacks("mapping", err))
		if code, err = m.enter(ctx, true, c); err != nil {
			code = fault.CodeOwn
		}
	}
	for _, name := range inside {
		if c.of(name).Check == "" {
			c.add(lacks(name, fmt.Errorf("the process in the user namespace has ended before it could tell (exit code %d)", code)))
		}
	}
}

func mapped(mapping userns.Mapping) Result {
	ids := uint64(0)
	for _, r := range mapping.UIDs {
		ids += uint64(r.Size)
	}
	if !mapping.Exact() {
		return ok("mapping", "a single id")
	}
	return ok("mapping", "%d ids", ids)
}

// enterPatience is how long all checks inside may take.
const enterPatience = patience + patience/2

func (m Machine) enter(ctx context.Context, single bool, c *collected) (code int, err error) {
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
	code, err = m.Enter(ctx, single, w)
	_ = w.Close()
	<-read
	return code, err
}

// ExamineInside makes the checks that need the user namespace, and writes each
// result to w, one a line.
func (m Machine) ExamineInside(ctx context.Context, w io.Writer) error {
	encoder := json.NewEncoder(w)
	var failed error
	report := func(results ...Result) {
		for _, r := range results {
			if err := encoder.Encode(r); failed == nil {
				failed = err
			}
		}
	}
	report(pidNamespace())
	temp, closed, err := m.openPatiently(ctx)
	if err != nil {
		report(m.withoutStore(err)...)
		return failed
	}
	defer func() { _ = closed() }()
	report(ok("store", "%s", m.Root), m.space())
	mapping, err := userns.Current()
	if err != nil {
		return err
	}
	p := probe{m, temp, mapping}
	all(ctx, []try{
		one("lock", p.locks),
		one("disk", p.disk),
		one("fuse-overlayfs", p.fuse),
		one("overlay", p.overlay),
		{"crun", p.runtimes},
		one("pasta", p.network("pasta")),
		one("slirp4netns", p.network("slirp4netns")),
		one("emulators", p.emulators),
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

// withoutNamespace tells what can be told where there is no user namespace.
func (m Machine) withoutNamespace(ctx context.Context, c *collected) {
	_, closed, err := m.openPatiently(ctx)
	if err != nil {
		c.add(lacks("store", err))
	} else {
		_ = closed()
		c.add(ok("store", "%s", m.Root), m.space())
	}
	for _, name := range append([]string{"mapping"}, inside...) {
		if c.of(name).Check == "" {
			c.add(skipped(name, "it needs a user namespace"))
		}
	}
}

// settle lowers what something else stands in for.
func settle(results []Result) []Result {
	state := func(name string) State { return find(results, name).State }
	for i, r := range results {
		instead := map[string]string{
			"overlay": "fuse-overlayfs", "crun": "runc", "runc": "crun", "pasta": "slirp4netns", "slirp4netns": "pasta",
		}[r.Check]
		if instead != "" && r.State != OK && r.State != Skipped && state(instead) == OK {
			results[i].State = Info
		}
		if r.Check == "nested-namespace" && state("user-namespace") != OK {
			results[i] = skipped(r.Check, "it needs a user namespace")
		}
	}
	return results
}
