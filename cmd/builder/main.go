// Command builder builds container images, and runs containers of them, with no
// daemon and no root.
//
// Here is its command line and nothing that a library user would want: one
// file for each family of commands, which reads flags, calls the rooms below,
// and prints. The rooms report events and errors; words for the terminal are
// made in printer.go, pull.go and errors.go alone.
//
// A command that only reads records is one process. One that works on file
// systems runs itself once more as root of a user namespace: see enter. One that
// starts a container runs itself once more as its monitor, which stays: see
// startMonitor.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containers/storage/pkg/reexec"

	"github.com/builder-oci/builder/rootless/chroot"
	"github.com/builder-oci/builder/rootless/doctor/checks"
	"github.com/builder-oci/builder/rootless/pid1"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/rootless/userns"
)

// Set by the linker.
var (
	version = "unknown"
	commit  = "unknown"
)

func main() {
	if os.Args[0] == sandbox.InitPath {
		os.Exit(pid1.Run(os.Args[1:]))
	}
	if os.Args[0] == chroot.Name {
		os.Exit(chroot.Main(os.Args[1:]))
	}
	if os.Args[0] == checks.ChildPath {
		os.Exit(checks.RunChild(os.Args[1:]))
	}
	// containers/storage starts this program to mount an overlay of very many
	// layers, whose options wouldn't fit otherwise.
	if reexec.Init() {
		return
	}
	os.Args = asExecutor(os.Args)
	os.Exit(run(os.Args))
}

// run executes a command line and gives the exit code.
func run(argv []string) int {
	if len(argv) > 1 && argv[1] == completing {
		_, _ = loadSettings() // there is nobody to tell
		complete(newApp(io.Discard, io.Discard), argv[2:], os.Stdout)
		return 0
	}
	ctx, stop := signalled(context.Background())
	defer stop()
	if userns.Inside() {
		if err := userns.Setup(); err != nil {
			return report(ctx, os.Stderr, err)
		}
	}
	metadata := map[string]any{}
	if !userns.Inside() {
		metadata[noStoreKey], metadata[mistakeKey] = loadSettings()
	}
	collectRarely()
	// Caught, SIGPIPE makes writing to a closed pipe an error, after which what
	// was begun is cleaned up. Unlike an ignored signal a caught one is back to
	// its default in the programs that we start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return report(ctx, os.Stderr, perform(ctx, argv, metadata))
}

// perform executes a command line and gives the error that ended it. A mistake in the
// configuration, which is in the metadata, is one of those commands that need that.
func perform(ctx context.Context, argv []string, metadata map[string]any) error {
	app := newApp(results{os.Stdout}, os.Stderr)
	app.Metadata = metadata
	args, err := canonical(app, argv)
	if err != nil {
		return err
	}
	lighten(app, args)
	return app.RunContext(ctx, args)
}

// signalled gives a context that a signal to end ends, with stopped as its
// cause. QUIT is one of them: Go's answer, the stacks of all goroutines, is
// nothing for users, and comes from a process that cleans nothing up. What the caller ignores (nohup, jobs in a script's background) stays
// ignored, here and in what we start.
func signalled(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 8)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				cancel(stopped{s.(syscall.Signal)})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
