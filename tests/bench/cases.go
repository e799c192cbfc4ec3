package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// figure is one line of the report.
type figure struct {
	name, unit, limit string
	cells             map[string]samples // by column
	next              *figure            // of the same runs; nil where there is none
}

// followedBy gives a figure that the report has beneath this one.
func (f *figure) followedBy(name, unit, limit string) *figure {
	f.next = &figure{name: name, unit: unit, limit: limit, cells: map[string]samples{}}
	return f.next
}

func (f *figure) add(column string, value float64) {
	f.cells[column] = append(f.cells[column], value)
}

// benchCase measures one figure, or several that come of the same runs.
type benchCase struct {
	name, unit, limit string
	measure           func(r *rig, f *figure) error
}

// buildCases are what the project promises of builds, in the report's order.
var buildCases = []benchCase{
	{"one trivial RUN, with --network host", "ms", "60 ms fuse, 35 ms native", slope("--network", "host")},
	{"one trivial RUN, with the default network", "ms", "60 ms fuse, 35 ms native", slope()},
	{"43 instructions, all cached", "ms", "50 ms", cachedInstructions},
	{"500 instructions, all cached", "ms", "150 ms", longDockerfile},
	{"four stages side by side that sleep 2 s each", "s", "2.5 s", sleepingStages},
	{"20,000-file context, all cached", "ms", "150 ms", cachedContext},
	{"COPY of 50,000 files of 10 KiB, cold", "s", "1.2 times tar | pigz -1", coldCopy},
	{"packing of 1 GiB in 4 files, after the RUN's end", "s", "1.2 times tar | pigz -1", packing(bigFiles)},
	{"packing of 50,000 files, after the RUN's end", "s", "1.2 times tar | pigz -1", packing(smallFiles)},
	{"builder version", "ms", "15 ms", version},
}

// fewRuns and manyRuns are the two builds between whose lengths a RUN's cost is
// the slope; peers, whose RUNs take a second, get by with fewer.
const (
	fewRuns, manyRuns         = 5, 25
	peerFewRuns, peerManyRuns = 2, 6
)

// slope gives the cost of one trivial RUN, with everything that it brings about.
func slope(args ...string) func(*rig, *figure) error {
	return func(r *rig, f *figure) error {
		return r.onStores(f, r.peerRuns, func(s *store, ours bool) (float64, error) {
			few, many := fewRuns, manyRuns
			if !ours {
				few, many = peerFewRuns, peerManyRuns
			}
			var took [2]float64
			for i, n := range []int{few, many} {
				context, err := r.context(base, trivialRuns(n))
				if err != nil {
					return 0, err
				}
				command := s.buildArgs(context, append([]string{"--no-cache"}, args...)...)
				if took[i], err = timed(s.command(command...)); err != nil {
					return 0, err
				}
				if err := r.observe(s, command); err != nil {
					return 0, err
				}
			}
			return (took[1] - took[0]) / float64(many-few), nil
		})
	}
}

const base = "ARG BASE\nFROM ${BASE}\n"

func trivialRuns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "RUN : %d\n", i)
	}
	return b.String()
}

// cachedInstructions times a build of 43 instructions when all is known.
func cachedInstructions(r *rig, f *figure) error {
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "ENV NAME_%d=value\nLABEL label.%d=value\nRUN echo %d > /file-%d\nCOPY file /copied-%d\n", i, i, i, i, i)
	}
	context, err := r.context(base, b.String(), "EXPOSE 80\nCMD [\"sh\"]\n")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(context, "file"), []byte("content\n"), 0o644); err != nil {
		return err
	}
	return r.rebuild(f, context, r.runs)
}

// longDockerfile times a build of 500 instructions when all is known: a quarter
// of them are RUNs, about as many as an image may have layers.
func longDockerfile(r *rig, f *figure) error {
	var b strings.Builder
	for i := range 125 {
		fmt.Fprintf(&b, "ARG ARGUMENT_%d=value\nENV NAME_%d=${ARGUMENT_%d}\nLABEL label.%d=value\nRUN : ${NAME_%d}\n", i, i, i, i, i)
	}
	context, err := r.context(base, b.String())
	if err != nil {
		return err
	}
	return r.rebuild(f, context, 0)
}

// sleepingStages times four stages that wait for nothing but themselves.
func sleepingStages(r *rig, f *figure) error {
	context, err := r.context("ARG BASE\n", sleepingStage("one"), sleepingStage("two"), sleepingStage("three"), sleepingStage("four"),
		"COPY --from=one /one /\nCOPY --from=two /two /\nCOPY --from=three /three /\n")
	if err != nil {
		return err
	}
	return r.onStores(f, 0, func(s *store, _ bool) (float64, error) {
		return timed(s.command(s.buildArgs(context, "--no-cache")...))
	})
}

func sleepingStage(name string) string {
	return fmt.Sprintf("FROM ${BASE} AS %s\nRUN sleep 2; echo > /%s\n", name, name)
}

// cachedContext times a build that copies a context of 20,000 files when all
// is known.
func cachedContext(r *rig, f *figure) error {
	context, err := r.context(base, "COPY tree /tree\nRUN : done\n")
	if err != nil {
		return err
	}
	if err := writeFiles(filepath.Join(context, "tree"), 20000, 1<<10); err != nil {
		return err
	}
	return r.rebuild(f, context, r.peerRuns)
}

// rebuild builds once, and then times builds of the same.
func (r *rig) rebuild(f *figure, context string, peerRuns int) error {
	built := map[*store]bool{}
	return r.onStores(f, peerRuns, func(s *store, _ bool) (float64, error) {
		if !built[s] {
			built[s] = true
			if err := s.build(context); err != nil {
				return 0, err
			}
			if err := r.observe(s, s.buildArgs(context)); err != nil {
				return 0, err
			}
		}
		return timed(s.command(s.buildArgs(context)...))
	})
}

// coldCopy times a COPY into a store that has never seen it.
func coldCopy(r *rig, f *figure) error {
	context, err := r.context(base, "COPY tree /tree\n")
	if err != nil {
		return err
	}
	tree := filepath.Join(context, "tree")
	if err := writeFiles(tree, 50000, 10<<10); err != nil {
		return err
	}
	for column := range eachColumn(r.peerRuns) {
		_, ours := drivers[column]
		for i := range r.times(ours, r.peerRuns) {
			s, err := r.newStore(column)
			if err != nil {
				return err
			}
			took, err := timed(s.command(s.buildArgs(context)...))
			if err != nil {
				return err
			}
			f.add(column, took)
			if ours && i == 0 {
				if err := r.observe(s, s.buildArgs(context, "--no-cache")); err != nil {
					return err
				}
			}
			if err := s.close(); err != nil {
				return err
			}
		}
	}
	return r.measureFloor(f, tree)
}

// packing times what is left to do when a RUN that copied a tree ends: until
// the end of the build, and, as a figure of its own, until the next RUN speaks.
func packing(fill func(dir string) error) func(*rig, *figure) error {
	return func(r *rig, f *figure) error {
		next := f.followedBy("the next RUN's first word after that RUN's end", "ms", "100 ms, and a RUN")
		context, err := r.context(base, "COPY tree /source\n")
		if err != nil {
			return err
		}
		tree := filepath.Join(context, "tree")
		if err := fill(tree); err != nil {
			return err
		}
		second, err := r.context("FROM bench\nRUN cp -r /source /copied && echo copied\nRUN echo next\n")
		if err != nil {
			return err
		}
		args := []string{"bud", "--no-cache", "-t", "copy", second}
		prepared := map[*store]bool{}
		err = r.onStores(f, 0, func(s *store, _ bool) (float64, error) {
			if !prepared[s] {
				prepared[s] = true
				if err := s.build(context); err != nil {
					return 0, err
				}
				if err := r.observe(s, args); err != nil {
					return 0, err
				}
				if err := s.run("rmi", "copy"); err != nil {
					return 0, err
				}
			}
			spoke, ended, err := after(s.command(args...), "copied", "next")
			if err != nil {
				return 0, err
			}
			next.add(s.column, spoke)
			// A gigabyte for each run would soon fill a tmpfs.
			return ended, s.run("rmi", "copy")
		})
		if err != nil {
			return err
		}
		return r.measureFloor(f, tree)
	}
}

// version times what every command costs at least.
func version(r *rig, f *figure) error {
	for range 4 * r.runs {
		took, err := timed(exec.Command(r.binary, "version"))
		if err != nil {
			return err
		}
		f.add(builderFuse, took)
	}
	return nil
}

// onStores measures on one store of each column, in turn, so that a slow
// moment of the machine meets all of them.
func (r *rig) onStores(f *figure, peerRuns int, measure func(s *store, ours bool) (float64, error)) error {
	return r.onColumns(buildColumns, f, peerRuns, measure)
}

// onColumns does that for columns that are stores.
func (r *rig) onColumns(columns []string, f *figure, peerRuns int, measure func(s *store, ours bool) (float64, error)) error {
	stores := map[string]*store{}
	for i := range max(r.runs, peerRuns) {
		for _, column := range columns {
			_, ours := drivers[column]
			if column == floor || i >= r.times(ours, peerRuns) {
				continue
			}
			if stores[column] == nil {
				s, err := r.newStore(column)
				if err != nil {
					return err
				}
				stores[column] = s
			}
			value, err := measure(stores[column], ours)
			if err != nil {
				return err
			}
			f.add(column, value)
		}
	}
	for _, s := range stores {
		if err := s.close(); err != nil {
			return err
		}
	}
	return nil
}

// eachColumn goes through builder's columns, and the peers' where they run.
func eachColumn(peerRuns int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, column := range []string{builderFuse, builderNative, buildahFuse, buildahNative} {
			if _, ours := drivers[column]; !ours && peerRuns == 0 {
				continue
			}
			if !yield(column) {
				return
			}
		}
	}
}

func (r *rig) times(ours bool, peerRuns int) int {
	if ours {
		return r.runs
	}
	return min(peerRuns, r.peerRuns)
}

// observe repeats a build of builder's, once for each store, and keeps the peak
// of its memory.
func (r *rig) observe(s *store, args []string) error {
	if _, ours := drivers[s.column]; !ours || s.observed {
		return nil
	}
	s.observed = true
	bytes, err := peak(s.command(args...))
	if err != nil {
		return err
	}
	fmt.Printf("    %-16s peak memory %s\n", s.column, samples{bytes}.format("MiB"))
	if old := r.memory.cells[s.column]; len(old) == 0 || old[0] < bytes {
		r.memory.cells[s.column] = samples{bytes}
	}
	return nil
}

// measureFloor times what no builder can do without: reading a tree, making a
// tar stream of it and compressing that.
func (r *rig) measureFloor(f *figure, tree string) error {
	for range r.runs {
		script := `tar -C "$0" -cf - . | pigz -1 > "$1"`
		took, err := timed(exec.CommandContext(r.ctx, "sh", "-c", script, tree, filepath.Join(r.dir, "floor.tar.gz")))
		if err != nil {
			return err
		}
		f.add(floor, took)
	}
	return os.RemoveAll(filepath.Dir(tree))
}

// bigFiles is 1 GiB in 4 files, smallFiles 50,000 files of 5 KiB.
func bigFiles(dir string) error   { return writeFiles(dir, 4, 256<<20) }
func smallFiles(dir string) error { return writeFiles(dir, 50000, 5<<10) }

// writeFiles fills a directory with files, 200 to a subdirectory. They are
// compressible about as far as programs and text are: three quarters words of
// a small vocabulary, one quarter noise, and the same at each call.
func writeFiles(dir string, count, size int) error {
	source := rand.NewChaCha8([32]byte{})
	noise := rand.New(source)
	words := make([]string, 4096)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", noise.Uint64()>>noise.IntN(48))
	}
	data := make([]byte, 0, size+32)
	for i := range count {
		data = data[:0]
		for len(data) < size*3/4 {
			data = append(data, words[noise.IntN(len(words))]...)
		}
		data = data[:size]
		_, _ = source.Read(data[size*3/4:]) // never fails
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/200))
		if i%200 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%05d", i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
