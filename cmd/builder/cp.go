package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/archive"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/userns"
)

func cpCommand() *cli.Command {
	return &cli.Command{
		Name:      "cp",
		Category:  categoryMore,
		Usage:     "Copy files between a container and this machine",
		ArgsUsage: "CONTAINER:PATH PATH|-\n   or: PATH|- CONTAINER:PATH",
		Description: `
A directory is copied into one that is there, and else under the name that is
given; DIR/. means what is in it. Where - is the source a tar is read, and unpacked
in a directory of the container; where it is the destination one is written.

In the container files belong to root, here to you.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "archive", Aliases: []string{"a"}, Usage: "let files in the container belong to the ids that they belong to here"},
			&cli.BoolFlag{Name: "follow-link", Aliases: []string{"L"}, Usage: "copy what the source's link leads to"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress; by itself where the output is no terminal"},
		},
		Action: coded(cp),
	}
}

// copying is what a cp is to do.
type copying struct {
	c         *cli.Context
	container string // which one
	inside    string // the path in it
	here      string // the path on this machine, or "-"
	into      bool   // from here into the container
	quiet     bool
}

func cp(c *cli.Context) error {
	if c.NArg() != 2 {
		return usageError(c.Command.HelpName, "%s takes a source and a destination", c.Command.HelpName)
	}
	k, err := readCopying(c, c.Args().Get(0), c.Args().Get(1))
	if err != nil {
		return err
	}
	if userns.Inside() {
		return inside(c, k.container, k.copyInside)
	}
	if err := k.check(); err != nil {
		return err
	}
	store, err := openStore(c)
	if err != nil {
		return err
	}
	found, err := findFor(store, k.container)
	env := storeEnv(store)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if k.into {
		return k.send(found, env)
	}
	return k.receive(found, env)
}

func readCopying(c *cli.Context, from, to string) (*copying, error) {
	if from == "" {
		return nil, usageError(c.Command.HelpName, "source can not be empty")
	}
	if to == "" {
		return nil, usageError(c.Command.HelpName, "destination can not be empty")
	}
	k := &copying{c: c, quiet: c.Bool("quiet") || !c.IsSet("quiet") && !isTerminal(os.Stdout)}
	source, sourcePath := splitCopyArgument(from)
	target, targetPath := splitCopyArgument(to)
	switch {
	case source != "" && target != "":
		return nil, usageError(c.Command.HelpName, "copying between containers is not supported")
	case source == "" && target == "":
		return nil, usageError(c.Command.HelpName, "must specify at least one container source")
	case source != "":
		k.container, k.inside, k.here = source, sourcePath, targetPath
	default:
		k.container, k.inside, k.here, k.into = target, targetPath, sourcePath, true
	}
	return k, nil
}

// splitCopyArgument tells CONTAINER:PATH from a path of this machine, in which a
// colon may stand if it begins with a slash or a dot.
func splitCopyArgument(arg string) (name, path string) {
	name, path, found := strings.Cut(arg, ":")
	if !found || filepath.IsAbs(arg) || strings.HasPrefix(name, ".") {
		return "", arg
	}
	return name, path
}

// check tells early what can't be on this machine.
func (k *copying) check() error {
	if k.here == "-" {
		return nil
	}
	if k.into {
		_, err := os.Lstat(k.here)
		return err
	}
	dir := filepath.Dir(filepath.Clean(k.here))
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return fmt.Errorf("invalid output path: directory %q does not exist", dir)
	}
	return nil
}

// send packs what is here, and has it unpacked in the container.
func (k *copying) send(found container.Found, env []string) error {
	if k.here == "-" {
		return visit{}.goInside(k.c, found, env)
	}
	place, err := locate(thisMachine{}, k.here, k.c.Bool("follow-link"))
	if err != nil {
		return err
	}
	source, err := place.source(os.Open)
	if err != nil {
		return err
	}
	defer func() { _ = source.Dir.Close() }()
	if !k.c.Bool("archive") {
		source.Owner = func(int, int) (int, int) { return 0, 0 }
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	var failed error
	done := make(chan struct{})
	progress := k.begin("Copying to container", theirs)
	go func() {
		defer close(done)
		failed = errors.Join(archive.Pack(k.c.Context, progress, source), theirs.Close())
	}()
	err = visit{in: ours}.goInside(k.c, found, env)
	_ = ours.Close()
	<-done
	// When nobody reads any more, whoever read has said why.
	if !errors.Is(failed, unix.EPIPE) && k.c.Err() == nil {
		err = errors.Join(err, failed)
	}
	return progress.end(err, k.container+":"+k.inside)
}

// receive unpacks here what is packed in the container.
func (k *copying) receive(found container.Found, env []string) error {
	if k.here == "-" {
		return visit{}.goInside(k.c, found, env)
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	progress := k.begin("Copying from container", nil)
	var told error
	done := make(chan struct{})
	go func() {
		defer close(done)
		told = errors.Join(visit{out: theirs}.goInside(k.c, found, env), theirs.Close())
	}()
	failed := unpackHere(k.c.Context, io.TeeReader(ours, progress), k.here)
	if failed == nil {
		_, failed = io.Copy(io.Discard, ours)
	}
	_ = ours.Close()
	<-done
	// When nothing more comes, whoever packs has said why.
	cut := errors.Is(failed, errNothing) || errors.Is(failed, io.ErrUnexpectedEOF) || k.c.Err() != nil
	if told != nil && (failed == nil || cut) {
		failed = told
	}
	return progress.end(failed, k.here)
}

// copyProgress counts and shows what is copied.
type copyProgress struct {
	io.Writer // where it goes; nil for nowhere
	k         *copying
	watch     *watch
	done      int64
}

func (k *copying) begin(what string, to io.Writer) *copyProgress {
	return &copyProgress{Writer: to, k: k, watch: startWatch(k.c, what, k.quiet)}
}

func (p *copyProgress) Write(b []byte) (int, error) {
	n, err := len(b), error(nil)
	if p.Writer != nil {
		n, err = p.Writer.Write(b)
	}
	p.done += int64(n)
	p.watch.progress("", p.done, -1, false)
	return n, err
}

// end takes the progress off the terminal, and tells what was done.
func (p *copyProgress) end(err error, to string) error {
	p.watch.end()
	if err == nil && !p.k.quiet {
		_, _ = fmt.Fprintln(p.k.c.App.ErrWriter, "Successfully copied", units.HumanSizeWithPrecision(float64(p.done), 3), "to", to)
	}
	return err
}
