package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// source is the image that is moved: the store that has built it and the
// registry that has it, under the name moved.
type source struct {
	*store
	registry *registry
}

const moved = "bench/image:v1"

// source makes that image once: busybox, and four layers of 150 MB in 7,500
// files each.
func (r *rig) source() (source, error) {
	if r.moved.store != nil {
		return r.moved, nil
	}
	s, err := r.newStore(builderAlone)
	if err != nil {
		return source{}, err
	}
	context, err := r.context(base, "COPY 0 /0\nCOPY 1 /1\nCOPY 2 /2\nCOPY 3 /3\n")
	if err != nil {
		return source{}, err
	}
	for i := range 4 { // no two layers of the same size, and so none the same
		if err := writeFiles(filepath.Join(context, fmt.Sprint(i)), 7500, 20<<10+i); err != nil {
			return source{}, err
		}
	}
	reg, err := r.startRegistry()
	if err != nil {
		return source{}, err
	}
	r.moved = source{s, reg}
	return r.moved, errors.Join(s.build(context), r.push(r.moved, reg), os.RemoveAll(context))
}

func (r *rig) push(s source, to *registry) error {
	return s.run("push", "--tls-verify=false", "bench", to.address+"/"+moved)
}

// way is one tool's way to do what is measured, in a directory of its own.
type way struct {
	column string
	runs   int
	do     func(dir string) (float64, error)
}

// inTurn measures several ways, each in a fresh directory, and takes turns.
func (r *rig) inTurn(f *figure, ways ...way) error {
	for i := range max(r.runs, r.peerRuns) {
		for _, w := range ways {
			if i >= w.runs {
				continue
			}
			dir, err := os.MkdirTemp(r.dir, "way")
			if err != nil {
				return err
			}
			took, err := w.do(dir)
			if err := errors.Join(err, r.removeAll(dir)); err != nil {
				return err
			}
			f.add(w.column, took)
		}
	}
	return nil
}

// pullAlone times fetching into an OCI layout, in which nothing is unpacked.
func pullAlone(r *rig, f *figure) error {
	s, err := r.source()
	if err != nil {
		return err
	}
	name := s.registry.address + "/" + moved
	return r.inTurn(
		f, way{builderAlone, r.runs, func(dir string) (float64, error) {
			return timed(r.builderIn(dir, "pull", "--tls-verify=false", name))
		}}, way{skopeo, r.peerRuns, func(dir string) (float64, error) {
			return timed(r.skopeoCopy(name, dir))
		}},
	)
}

// pullAndRun times how long it takes until a program can run in the image.
func pullAndRun(r *rig, f *figure) error {
	s, err := r.source()
	if err != nil {
		return err
	}
	name := s.registry.address + "/" + moved
	return r.inTurn(
		f, way{builderAlone, r.runs, func(dir string) (float64, error) {
			return timed(
				r.builderIn(dir, "pull", "--tls-verify=false", name),
				r.builderIn(dir, "run", "--rm", "--network", "host", name, "true"),
			)
		}}, way{skopeoUmoci, r.peerRuns, func(dir string) (float64, error) {
			return timed(r.skopeoCopy(name, dir),
				exec.CommandContext(r.ctx, "umoci", "unpack", "--rootless", "--image", dir+"/layout:v1", dir+"/bundle"))
		}}, way{podman, r.peerRuns, func(dir string) (float64, error) {
			p := r.podmanIn(dir)
			took, err := timed(p.command("pull", "--quiet", "--tls-verify=false", name))
			return took, errors.Join(err, p.stopPause())
		}},
	)
}

// pushBuilt times sending what was just built to a registry that has nothing of
// it, beside copying the same finished blobs there.
func pushBuilt(r *rig, f *figure) error {
	s, err := r.source()
	if err != nil {
		return err
	}
	copied := filepath.Join(r.dir, "pushed")
	if err := os.Mkdir(copied, 0o700); err != nil {
		return err
	}
	if out, err := r.skopeoCopy(s.registry.address+"/"+moved, copied).CombinedOutput(); err != nil {
		return fmt.Errorf("skopeo: %w\n%s", err, out)
	}
	to := func(push func(to string) *exec.Cmd) func(string) (float64, error) {
		return func(string) (float64, error) {
			reg, err := r.startRegistry()
			if err != nil {
				return 0, err
			}
			took, err := timed(push(reg.address + "/" + moved))
			return took, errors.Join(err, reg.stop())
		}
	}
	return r.inTurn(
		f, way{builderAlone, r.runs, to(func(name string) *exec.Cmd {
			return s.command("push", "--tls-verify=false", "bench", name)
		})}, way{skopeo, r.peerRuns, to(func(name string) *exec.Cmd {
			return exec.CommandContext(r.ctx, "skopeo", "copy", "-q", "--dest-tls-verify=false",
				"oci:"+copied+"/layout:v1", "docker://"+name)
		})},
	)
}

// saveAndLoad times an image of 1 GiB, which nothing can compress, on its way
// from one store through a pipe into another, and the memory of either end.
func saveAndLoad(r *rig, f *figure) error {
	saves := f.followedBy("peak memory of that save", "MiB", "60 MiB")
	loads := saves.followedBy("peak memory of that load", "MiB", "60 MiB")
	s, err := r.newStore(builderAlone)
	if err != nil {
		return err
	}
	context, err := r.context(base, "COPY noise /noise\n")
	if err != nil {
		return err
	}
	if err := writeNoise(filepath.Join(context, "noise"), 1<<30); err != nil {
		return err
	}
	if err := errors.Join(s.build(context), os.RemoveAll(context)); err != nil {
		return err
	}
	err = r.inTurn(f, way{builderAlone, r.runs, func(dir string) (float64, error) {
		p, err := piped(s.command("save", "bench"), r.builderIn(dir, "load"))
		if err != nil {
			return 0, err
		}
		saves.add(builderAlone, p.peaks[0])
		loads.add(builderAlone, p.peaks[1])
		return p.took, nil
	}})
	return errors.Join(err, s.close())
}

// builderIn prepares builder with a store in dir.
func (r *rig) builderIn(dir string, args ...string) *exec.Cmd {
	s := &store{rig: r, column: builderAlone, tool: r.binary, global: []string{"--root", dir + "/root"}}
	return s.command(args...)
}

func (r *rig) skopeoCopy(name, dir string) *exec.Cmd {
	return exec.CommandContext(r.ctx, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+name, "oci:"+dir+"/layout:v1")
}

// writeNoise writes a file that nothing compresses.
func writeNoise(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	return errors.Join(err, f.Close())
}
