// Bench measures a builder binary against the figures that the project sets
// itself, beside tar, pigz and Debian's buildah, skopeo and podman in the same run, and writes the
// tables of docs/performance.md. `make bench` runs it as an unprivileged user.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	builder := flag.String("builder", "bin/builder", "measure this `binary`")
	report := flag.String("report", "", "write the tables into this `file`, between its marks")
	dir := flag.String("dir", "/dev/shm", "work below this `directory`: on a tmpfs or a fresh file system")
	runs := flag.Int("runs", 5, "measure each figure `n` times")
	peerRuns := flag.Int("peer-runs", 5, "measure the peers' slow figures `n` times; 0 leaves them out")
	only := flag.String("only", "", "measure only what matches this `expression`, of builds, images or containers, as in '^containers: exec'")
	flag.Parse()

	expression, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(*builder)
	if err != nil {
		return err
	}
	r, err := newRig(ctx, binary, *dir, *runs, *peerRuns)
	if err != nil {
		return err
	}
	defer r.close()

	started := time.Now()
	builds, err := measure(r, "builds", buildCases, expression)
	if err != nil {
		return err
	}
	if len(builds) > 0 {
		builds = append(builds, r.memory)
		r.memory.print()
	}
	images, err := measure(r, "images", imageCases, expression)
	if err != nil {
		return err
	}
	containers, err := measure(r, "containers", containerCases, expression)
	if err != nil {
		return err
	}
	fmt.Printf("measured in %s\n", time.Since(started).Round(time.Second))

	if *report == "" {
		return nil
	}
	return writeReport(*report, r, table{buildColumns, builds}, table{imageColumns, images}, table{containerColumns, containers})
}

// measure does those cases whose names match, with what they are of before them.
func measure(r *rig, of string, cases []benchCase, which *regexp.Regexp) ([]figure, error) {
	var done []figure
	for _, c := range cases {
		if !which.MatchString(of + ": " + c.name) {
			continue
		}
		f := &figure{name: c.name, limit: c.limit, unit: c.unit, cells: map[string]samples{}}
		if err := c.measure(r, f); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		for ; f != nil; f = f.next {
			f.print()
			done = append(done, *f)
		}
	}
	return done, nil
}

func (f figure) print() {
	fmt.Println(f.name)
	for _, column := range slices.Concat(buildColumns, imageColumns, containerColumns[2:]) {
		if s := f.cells[column]; len(s) > 0 {
			fmt.Printf("    %-16s %s\n", column, s.format(f.unit))
		}
	}
}
