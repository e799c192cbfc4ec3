// Package checks tries what builder needs of a machine: each check does the
// real thing, in a child or a directory of its own, says how it went, and leaves
// nothing behind. Where something is missing, cause and remedy are those that the
// command would give that comes to need it.
//
// [Machine.Examine] is called by the process that the user has started. It has
// another one started as root of a user namespace, which calls
// [Machine.ExamineInside]. Some checks start this program as [ChildPath].
package checks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/doctor"
)

// State is how a check went.
type State string

// The states. Fails is of what nothing is built without, Less of what something
// else stands in for; Info tells, and asks for nothing; what was Skipped
// couldn't be tried for want of something else.
const (
	OK      State = "ok"
	Less    State = "less"
	Fails   State = "fails"
	Info    State = "info"
	Skipped State = "untried"
)

// Result is a check that was made.
type Result struct {
	Check   string `json:"check"` // its name, for programs
	What    string `json:"what"`
	State   State  `json:"state"`
	Found   string `json:"found"`
	Matters string `json:"matters"` // why it matters
	Remedy  string `json:"remedy,omitempty"`
}

// Report is all that was found out.
type Report struct {
	Verdict  State         `json:"verdict"` // OK, Less or Fails
	Place    doctor.Place  `json:"place"`
	Checks   []Result      `json:"checks"`
	Commands doctor.Script `json:"commands"`
}

// ExitCode is 0 where all works, 1 where builder works but could do more, 2 where
// it can't build.
func (r Report) ExitCode() int {
	return map[State]int{OK: 0, Less: 1, Fails: 2}[r.Verdict]
}

// Conclusion says the verdict in a sentence.
func (r Report) Conclusion() string {
	switch r.Verdict {
	case OK:
		return "All works."
	case Less:
		return "builder works here, and could do more."
	}
	for _, c := range r.Checks {
		other := c.State == Fails && c.Check != "isolation" && c.Check != "user-namespace"
		// Root isn't one without a namespace unless told so, and then does nothing.
		if other || c.Check == "lock" && c.State == Skipped {
			return "builder can't build here."
		}
	}
	return "Only what has no RUN can be built here."
}

// reportOf draws the conclusions.
func reportOf(results []Result) Report {
	slices.SortStableFunc(results, func(a, b Result) int { return rank(a.Check) - rank(b.Check) })
	r := Report{Verdict: OK, Place: doctor.Here(), Checks: results}
	var remedies []string
	for _, c := range results {
		switch c.State {
		case Fails:
			r.Verdict = Fails
		case Less:
			if r.Verdict != Fails {
				r.Verdict = Less
			}
		default:
			continue
		}
		remedies = append(remedies, c.Remedy)
	}
	r.Commands = doctor.ScriptOf(remedies...)
	return r
}

// subject is what a check is about.
type subject struct {
	name, what, matters string
	worst               State // what the lack of it comes to
}

// subjects are in the order of the report.
var subjects = []subject{
	{"configuration", "configuration", "no other command works while there is a mistake in it", Fails},
	{"user-namespace", "user namespace", "builder is root only inside one", Less},
	{"nested-namespace", "nested namespace", "git and ssh of a build run as you in one of their own", Less},
	{"newuidmap", "newuidmap, newgidmap", "only they map more ids than your own", Less},
	{"subordinate-ids", "subordinate ids", "images have files of many owners, which a RUN can change", Less},
	{"overlapping-ids", "ids of others", "who shares ids with you can change your images' files", Less},
	{"mapping", "id mapping", "builder works with these ids, and images have many", Less},
	{"pid-namespace", "pid namespace, /proc", "a RUN sees its own processes, and none outlives builder", Less},
	{"store", "store", "images, cache and containers are kept there", Fails},
	{"lock", "locks", "commands that run at once wait for each other by them", Fails},
	{"disk", "the store's disk", "it must hold other owners' files, and extended attributes", Less},
	{"space", "free space", "a build needs about twice its image's size", Less},
	{"fuse-overlayfs", "fuse-overlayfs", "the default storage driver: it works on every disk", Less},
	{"overlay", "overlay, userxattr", "the faster driver, and the one that stands in for fuse-overlayfs", Less},
	{"crun", "crun", "runs RUNs and containers, in half of runc's time", Less},
	{"runc", "runc", "runs RUNs and containers where crun isn't there", Less},
	{"isolation", "isolation", "what keeps a RUN apart from the machine; without one there are no RUNs", Fails},
	{"pasta", "pasta", "gives RUNs and containers a network of their own", Less},
	{"slirp4netns", "slirp4netns", "does so where pasta isn't there", Less},
	{"network", "network", "RUNs and containers get this one, where --network doesn't say otherwise", Less},
	{"limit-memory", "limits: memory", "--memory, and telling what ran out of it", Less},
	{"limit-cpu", "limits: cpu", "--cpus, --cpu-shares and --cpu-quota", Less},
	{"limit-pids", "limits: pids", "--pids-limit", Less},
	{"limit-io", "limits: io", "--blkio-weight", Info},
	{"limit-cpuset", "limits: cpuset", "--cpuset-cpus and --cpuset-mems", Info},
	{"emulators", "other architectures", "RUNs of --platform are emulated", Info},
	{"memory", "memory", "builder needs up to 64 MiB, and RUNs what they need", Less},
	{"clock", "clock", "certificates and layers have dates", Less},
	{"registry", "registry", "images come from there", Less},
}

func rank(name string) int {
	return slices.IndexFunc(subjects, func(s subject) bool { return s.name == name })
}

func about(name string) subject { return subjects[rank(name)] }

func (s subject) result(state State, found string) Result {
	return Result{Check: s.name, What: s.what, State: state, Found: found, Matters: s.matters}
}

// ok says that all is well with it.
func ok(name, format string, args ...any) Result {
	return about(name).result(OK, fmt.Sprintf(format, args...))
}

// lacks says why it can't be had, in the words of the error and at the worst.
func lacks(name string, err error) Result {
	s := about(name)
	r := s.result(s.worst, oneLine(err.Error()))
	r.Remedy = fault.Remedy(err)
	return r
}

// skipped says that it couldn't be tried.
func skipped(name, why string) Result { return about(name).result(Skipped, why) }

// try is a check; name is what is said where it doesn't end.
type try struct {
	name string
	do   func(context.Context) []Result
}

// patience is how long a check may take.
const patience = 15 * time.Second

// all makes checks at once, and hands on their results as they come. One that
// doesn't end, though its context has, is left behind, and ends with this process.
func all(ctx context.Context, patience time.Duration, tries []try, report func(...Result)) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type done struct {
		n       int
		results []Result
	}
	ended := make(chan done, len(tries))
	for n, t := range tries {
		go func() { ended <- done{n, t.do(ctx)} }()
	}
	waiting := map[int]bool{}
	for n := range tries {
		waiting[n] = true
	}
	var late <-chan time.Time
	stopped := ctx.Done()
	for len(waiting) > 0 {
		select {
		case d := <-ended:
			delete(waiting, d.n)
			report(d.results...)
		case <-stopped:
			stopped, late = nil, time.After(patience/5)
		case <-late:
			for n := range waiting {
				report(lacks(tries[n].name, fmt.Errorf("no answer after %v", patience)))
			}
			return
		}
	}
}

// one is a check with one result.
func one(name string, do func(context.Context) Result) try {
	return try{name, func(ctx context.Context) []Result { return []Result{do(ctx)} }}
}
