package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/settings"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/trust"
	"github.com/builder-oci/builder/rootless/doctor"
	"github.com/builder-oci/builder/rootless/doctor/checks"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/transport"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Category:  categoryMore,
		Usage:     "Try what builder needs of this machine, and tell what mends it",
		ArgsUsage: "[REGISTRY...]",
		Description: "Each check does the real thing, and leaves nothing behind. The exit code is 0 where\n" +
			"all works, 1 where builder works but could do more, 2 where it can't build.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`FORMAT`: table or json", Value: "table"},
		},
		Action: examineMachine,
	}
}

func examineMachine(c *cli.Context) error {
	if format := c.String("format"); format != "table" && format != "json" {
		return usageError("builder doctor", "--format %q is neither table nor json", format)
	}
	if slices.Contains(c.Args().Slice(), "") {
		return usageError("builder doctor", "the name of a registry is empty")
	}
	m, err := machine(c)
	if err != nil {
		return err
	}
	if userns.Inside() {
		return m.ExamineInside(c.Context, c.App.Writer)
	}
	report := m.Examine(c.Context)
	if c.Err() != nil {
		return context.Cause(c.Context)
	}
	if err := printReport(c, report); err != nil {
		return err
	}
	if code := report.ExitCode(); code != 0 {
		return exitStatus(code)
	}
	return nil
}

// machine is this one, and how it is examined.
func machine(c *cli.Context) (m checks.Machine, err error) {
	m = checks.Machine{
		Runtime: c.String(flagRuntime), Driver: c.String(flagDriver), Isolation: askedIsolation(c), Network: configuredNetwork(),
		Configured: settings.Present(settings.User(), settings.Machine), Mistake: mistakeIn(c),
	}
	if m.Root, err = configuredRoot(c); err != nil {
		return m, err
	}
	if m.RunDir, err = storage.DefaultRunDir(os.Geteuid()); err != nil {
		return m, err
	}
	for _, arg := range c.Args().Slice() {
		server, err := transport.Registry(arg)
		if err != nil {
			return m, err
		}
		if !userns.Inside() {
			m.Registries = append(m.Registries, server)
		}
	}
	m.Open = func(ctx context.Context) (string, func() error, error) { return openProbed(ctx, m.Root) }
	m.Ping = func(ctx context.Context, registry string) (time.Time, error) {
		then, err := transport.Ping(ctx, registry, transport.Options{})
		return then, byAuthorities(err)
	}
	env := []string{storage.RootEnv + "=" + m.Root, storage.RunDirEnv + "=" + m.RunDir}
	m.Enter = func(ctx context.Context, out *os.File) (int, error) {
		return userns.Enter(ctx, userns.Options{Plain: m.Isolation.Entering(), Stdout: out, Env: env})
	}
	return m, nil
}

// openProbed opens the store for checks, with a directory that goes with the
// session.
func openProbed(ctx context.Context, root string) (temp string, closed func() error, err error) {
	store, err := storage.Open(ctx, storage.Options{Root: root})
	if err != nil {
		return "", nil, err
	}
	_ = store.Sweep(ctx, userns.Inside()) // of a doctor that was killed; nobody's health depends on it
	session, err := store.Session()
	if err == nil {
		temp, err = session.TempDir()
	}
	if err != nil {
		return "", nil, errors.Join(err, store.Close())
	}
	return temp, store.Close, nil
}

// namingDoctor is err with the command that looks at all of the machine, where that
// is at fault.
func namingDoctor(err error) error {
	const line = programName + " doctor    # looks at all that builder needs of this machine"
	remedy := fault.Remedy(err)
	if !fault.OfMachine(err) || strings.Contains(remedy, line) {
		return err
	}
	return remedied(err, strings.TrimSpace(remedy+"\n"+line))
}

// byDisk is err where the store's file system lacks what trees and locks need, in
// doctor's words; any other err it is as it stands.
func byDisk(err error) error {
	root, failed := storage.DefaultRoot()
	if failed != nil {
		return err
	}
	var lack error
	switch {
	case errors.Is(err, layer.ErrAttributes):
		lack = doctor.Attributes(unix.ENOTSUP, root)
	case errors.Is(err, layer.ErrOwner) && doctor.DiskOf(root).Network():
		lack = doctor.Owners(unix.EPERM, root)
	case errors.Is(err, unix.ENOLCK):
		lack = doctor.Locks(unix.ENOLCK, root)
	default:
		return err
	}
	return because(err, lack)
}

// withoutIDs is err, that files are of ids which this process hasn't, with the reason
// for that and its remedy.
func withoutIDs(err error) error {
	m, failed := userns.Current()
	if failed != nil || m.Notice == nil {
		return remedied(err, "start builder as when these were made: with the ids that it had then")
	}
	why := fmt.Errorf("%w; subordinate ids can't be used here: %w", err, m.Notice)
	return &fault.Error{Err: why, Remedy: m.Notice.Remedy, Code: fault.Code(err), Machine: true}
}

// byClock is err where a registry's certificate doesn't count because this machine's
// clock is wrong, with that cause; any other err it is as it stands.
func byClock(err error) error {
	var out *transport.OutOfTime
	if !errors.As(err, &out) || out.Clock.IsZero() || time.Since(out.Clock).Abs() <= checks.Skew {
		return err
	}
	return because(err, doctor.Clock(time.Now(), out.Clock, "it is by "+out.Registry))
}

// byAuthorities is err where a server's certificate doesn't count because this machine
// has no authorities at all, with that cause; any other err it is as it stands.
func byAuthorities(err error) error { return byAuthoritiesOf(err, trust.Installed) }

func byAuthoritiesOf(err error, installed func() bool) error {
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || installed() {
		return err
	}
	return because(err, doctor.NoAuthorities(fault.Remedy(err)))
}

// because is err with a cause that lies in the machine, and the cause's remedy.
func because(err, lack error) error {
	return &fault.Error{Err: fmt.Errorf("%w: %w", err, lack), Remedy: fault.Remedy(lack), Code: fault.Code(err), Detail: fault.Detail(err), Machine: true}
}
