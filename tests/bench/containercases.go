package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// containerCases are about containers, over both drivers. podman is beside them
// with the same drivers, and, where the figure is the network's, the same helper.
var containerCases = []benchCase{
	{"run --rm IMAGE true", "ms", "0.5 times podman; 100 ms fuse, 70 ms native", runTrue},
	{"run --rm IMAGE true, each with runc and slirp4netns", "ms", "0.5 times podman", runTrueAlike},
	{"exec of true", "ms", "40 ms", execTrue},
	{"20 containers at once, until all run", "s", "4 s", manyContainers},
	{"a published port's throughput, by slirp4netns", "MiB/s", "at least 0.9 times podman", throughput("slirp4netns")},
	{"a published port's throughput, by pasta", "MiB/s", "", throughput("pasta")},
	{"diff of 3 changed files over 50,000", "ms", "15 ms", diffOfFew},
}

// forEver is a program that waits to be ended.
var forEver = []string{"sleep", "86400"}

// onContainers measures on one store of each column, which is prepared before that,
// and whose containers are ended after it.
func (r *rig) onContainers(columns []string, f *figure, prepare func(*store) error, measure func(s *store, ours bool) (float64, error)) error {
	return r.onColumns(columns, f, r.peerRuns, func(s *store, ours bool) (float64, error) {
		if !s.prepared {
			s.prepared = true
			s.willRun()
			if err := prepare(s); err != nil {
				return 0, err
			}
		}
		return measure(s, ours)
	})
}

// warm has a store do what it does at its first container alone.
func warm(s *store) error { return s.run("run", "--rm", s.base, "true") }

// runTrue times a container from its making to its removal.
func runTrue(r *rig, f *figure) error {
	return r.onContainers(containerColumns, f, warm, func(s *store, _ bool) (float64, error) {
		return timed(s.command("run", "--rm", s.base, "true"))
	})
}

// runTrueAlike has all use the same runtime and network helper: podman can't use
// crun everywhere, and its network is slirp4netns's.
func runTrueAlike(r *rig, f *figure) error {
	alike := func(s *store) *exec.Cmd {
		cmd := s.command("run", "--rm", "--network", "slirp4netns", s.base, "true")
		cmd.Args = append([]string{cmd.Args[0], "--runtime", "runc"}, cmd.Args[1:]...)
		return cmd
	}
	prepare := func(s *store) error { return alike(s).Run() }
	return r.onContainers(containerColumns, f, prepare, func(s *store, _ bool) (float64, error) {
		return timed(alike(s))
	})
}

// execTrue times a program beside a container's.
func execTrue(r *rig, f *figure) error {
	prepare := func(s *store) error {
		return errors.Join(s.start("box"), s.run("exec", "box", "true"))
	}
	return r.onContainers(containerColumns, f, prepare, func(s *store, _ bool) (float64, error) {
		return timed(s.command("exec", "box", "true"))
	})
}

// severalContainers is how many are started side by side.
const severalContainers = 20

// manyContainers times how long it takes until all run; and with all of them
// there, how long ps takes, and what memory each has of its own.
func manyContainers(r *rig, f *figure) error {
	ps := f.followedBy("ps, with 20 containers", "ms", "40 ms")
	monitors := ps.followedBy("resident memory of a container's monitor, the most of 20", "MiB", "15 MiB")
	each := monitors.followedBy("the same with its network helper", "MiB", "20 MiB")
	return r.onContainers(containerColumns, f, warm, func(s *store, ours bool) (float64, error) {
		names := make([]string, severalContainers)
		for i := range names {
			names[i] = fmt.Sprint("box", i)
		}
		took, err := s.startAll(names)
		if err != nil {
			return 0, err
		}
		if ours {
			if err := s.observeMonitors(names, monitors, each); err != nil {
				return 0, err
			}
		}
		listed, err := timed(s.command("ps"))
		if err != nil {
			return 0, err
		}
		ps.add(s.column, listed)
		return took, s.removeContainers()
	})
}

// startAll starts containers side by side, and says how long it takes until all
// of them run.
func (s *store) startAll(names []string) (float64, error) {
	errs := make([]error, len(names))
	var starting sync.WaitGroup
	begun := time.Now()
	for i, name := range names {
		starting.Go(func() { errs[i] = s.start(name) })
	}
	starting.Wait()
	return time.Since(begun).Seconds(), errors.Join(errs...)
}

// start starts a container that runs until it is ended.
func (s *store) start(name string, args ...string) error {
	args = append([]string{"run", "--detach", "--name", name}, args...)
	return s.run(append(append(args, s.base), forEver...)...)
}

// diffOfFew times what has changed in a container over a large image.
func diffOfFew(r *rig, f *figure) error {
	const change = "echo >> /tree/000/00000; rm /tree/001/00200; echo > /new"
	context, err := r.context(base, "COPY tree /tree\n")
	if err != nil {
		return err
	}
	if err := smallFiles(filepath.Join(context, "tree")); err != nil {
		return err
	}
	prepare := func(s *store) error {
		if err := s.build(context); err != nil {
			return err
		}
		s.base = "bench"
		if err := errors.Join(s.start("box"), s.run("exec", "box", "sh", "-c", change)); err != nil {
			return err
		}
		out, err := s.command("diff", "box").Output()
		if lines := strings.Count(string(out), "\n"); err == nil && lines != 6 {
			err = fmt.Errorf("diff: 3 files and 3 directories have changed, not %d:\n%s", lines, out)
		}
		return err
	}
	err = r.onContainers(containerColumns[:2], f, prepare, func(s *store, _ bool) (float64, error) {
		return timed(s.command("diff", "box"))
	})
	return errors.Join(err, os.RemoveAll(context))
}

// willRun has the store's containers ended before it is closed.
func (s *store) willRun() { s.rig.running = append(s.rig.running, s) }

// end ends what still runs in the store, whatever else has gone wrong.
func (s *store) end() error {
	if _, err := os.Stat(s.dir); err != nil {
		return nil
	}
	ending := *s
	rig := *s.rig
	rig.ctx = context.WithoutCancel(rig.ctx) // an interrupt ends measurements only
	ending.rig = &rig
	return errors.Join(ending.removeContainers(), s.stopPause())
}

// removeContainers ends and removes all of them.
func (s *store) removeContainers() error {
	if _, ours := drivers[s.column]; !ours {
		return s.run("rm", "--force", "--all", "--time", "0")
	}
	ids, err := s.command("ps", "--all", "--quiet").Output()
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.run(append([]string{"rm", "--force"}, strings.Fields(string(ids))...)...)
}
