package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/build"
	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/internal/fault"
)

// readContext settles where build context and Dockerfile come from.
func readContext(c *cli.Context, o *build.Options) error {
	ref, err := contextRef(c)
	if err != nil {
		return err
	}
	o.ContextDir, o.Dockerfile, o.ContextSub = ref, c.String("file"), c.String("context-sub-path")
	if o.ContextSub != "" && !buildcontext.IsRemote(ref) {
		return usageError(c.Command.HelpName, "--context-sub-path is for a build context that is fetched: name the directory itself")
	}
	o.Contexts = map[string]string{}
	for _, text := range c.StringSlice("build-context") {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return usageError(c.Command.HelpName, "--build-context %q is not NAME=VALUE", text)
		}
		o.Contexts[name] = value
	}
	switch {
	case ref == buildcontext.Stdin:
		return stdinContext(c, o)
	case o.Dockerfile == buildcontext.Stdin:
		o.Dockerfile = "stdin" // what errors call it
		o.Source, err = buildcontext.ReadDockerfile(interruptible(c.Context, os.Stdin))
	}
	return fault.At("the standard input", err)
}

// contextRef is the build context as the user named it. A directory that is
// there is one, even if it is called like a repository.
func contextRef(c *cli.Context) (string, error) {
	ref, err := contextArgument(c)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(ref)
	switch {
	case err == nil && st.IsDir() && buildcontext.IsRemote(ref):
		return "./" + ref, nil
	case err == nil && st.IsDir() || buildcontext.IsRemote(ref):
		return ref, nil
	case err != nil:
		return "", fault.New("", "the build context can't be read: %w", err)
	}
	return "", fault.New("name the directory that holds what COPY takes, and the Dockerfile by -f",
		"the build context %s is not a directory", ref)
}

// stdinContext tells an archive on the standard input from a Dockerfile, which
// is a build without any files.
func stdinContext(c *cli.Context, o *build.Options) error {
	if o.Dockerfile == buildcontext.Stdin {
		return usageError(c.Command.HelpName, "the build context and the Dockerfile can't both be the standard input")
	}
	stdin, err := takeStdin()
	if err != nil {
		return err
	}
	b := bufio.NewReaderSize(interruptible(c.Context, stdin), buildcontext.HeadSize)
	head, err := b.Peek(buildcontext.HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the standard input: %w", err)
	}
	if buildcontext.IsArchive(head) {
		o.Stdin = b
		return nil
	}
	if o.Dockerfile != "" {
		return fault.New("leave --file out, or pipe a tar archive of the build context",
			"the standard input is a Dockerfile, and --file names another")
	}
	o.ContextDir, o.Dockerfile = "", "stdin"
	o.Source, err = buildcontext.ReadDockerfile(b)
	return fault.At("the standard input", err)
}

// interruptible gives a reader that ends with the context. What is being read
// then, perhaps of a terminal, is waited for by nobody.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(pw, struct{ io.Reader }{r}, make([]byte, 256<<10))
		_ = pw.CloseWithError(err) // never fails
	}()
	context.AfterFunc(ctx, func() { _ = pr.CloseWithError(context.Cause(ctx)) })
	return pr
}

// takeStdin gives the standard input under another descriptor, so that its own
// is free for passStdin.
func takeStdin() (*os.File, error) {
	fd, err := unix.FcntlInt(os.Stdin.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), "stdin"), nil
}

// passStdin makes what was read of the standard input, and what is still to
// come of it, the standard input for the same command in the user namespace.
func passStdin(o build.Options) error {
	if o.Stdin == nil {
		return restoreStdin(o.Source)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(r.Fd()), int(os.Stdin.Fd()), 0); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	// It ends with this process at the latest, which only waits from here on.
	go func() {
		_, _ = io.Copy(w, o.Stdin) // an archive that is cut short is told inside
		_ = w.Close()
	}()
	return r.Close()
}
