package cgroup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// scopePrefix begins the names of the scopes that a process makes for itself.
func scopePrefix() string { return fmt.Sprintf("builder-%d-", os.Getpid()) }

// inOwnScope tells whether this process is in a scope that it has made, for a
// program that it let go meanwhile.
func inOwnScope() bool {
	at, _, err := find()
	return err == nil && strings.HasPrefix(filepath.Base(filepath.Dir(at.path)), scopePrefix())
}

// EndsAtLogout tells whether what this process has started, since Claim moved it to a
// scope, ends when the user logs out: his systemd does, unless he lingers.
func EndsAtLogout() bool {
	if !inOwnScope() {
		return false
	}
	u, err := user.Current()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join("/var/lib/systemd/linger", u.Username))
	return errors.Is(err, fs.ErrNotExist)
}

// scopePatience is how long systemd may take to make a scope.
const scopePatience = 20 * time.Second

// errNoSystemd says that no systemd runs for the user.
var errNoSystemd = errors.New("no systemd of the user runs")

// enterScope moves this process into a new cgroup that the user's systemd delegates
// to it, as systemd-run does with what it runs: from a login session's cgroup, which
// is root's, the user himself can't move anything. The scope ends with its last process.
func enterScope(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scopePatience)
	defer cancel()
	conn, err := dialSystemd(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	name := scopePrefix() + strings.ToLower(rand.Text()[:8]) + ".scope"
	if err := startScope(ctx, conn, name); err != nil {
		return fmt.Errorf("systemd makes no scope: %w", err)
	}
	if at, _, err := find(); err != nil || filepath.Base(at.path) != name {
		return fmt.Errorf("systemd has left builder out of the scope %s", name)
	}
	return nil
}

// dialSystemd reaches the user's systemd by the socket that systemctl and
// systemd-run use too: it is there without a bus of the user's.
func dialSystemd(ctx context.Context) (*dbus.Conn, error) {
	socket := userSystemd() + "/private"
	if _, err := os.Stat(socket); err != nil {
		return nil, errNoSystemd
	}
	conn, err := dbus.Dial("unix:path="+socket, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("reaching systemd at %s: %w", socket, err)
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(os.Getuid()))}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("reaching systemd at %s: %w", socket, err)
	}
	return conn, nil
}

// userSystemd is the directory of the user's systemd.
func userSystemd() string { return fmt.Sprintf("/run/user/%d/systemd", os.Getuid()) }

// property is one of a unit's, in the protocol's order: org.freedesktop.systemd1(5).
type property struct {
	Name  string
	Value dbus.Variant
}

// auxiliary are further units that go with one. There are none.
type auxiliary struct {
	Name       string
	Properties []property
}

// startScope has this process put into a new scope, and returns when it is there.
func startScope(ctx context.Context, conn *dbus.Conn, name string) error {
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	properties := []property{
		{"Description", dbus.MakeVariant("builder: programs with limits")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(os.Getpid())})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	var job dbus.ObjectPath
	err := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").CallWithContext(ctx,
		"org.freedesktop.systemd1.Manager.StartTransientUnit", 0, name, "fail", properties, []auxiliary{}).Store(&job)
	if err != nil {
		return err
	}
	for {
		select {
		case s, open := <-signals:
			if !open {
				return errors.New("it has closed the connection")
			}
			if result, ours := jobResult(s, job); ours && result != "done" {
				return fmt.Errorf("the job has ended: %s", result)
			} else if ours {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// jobResult reads how a job has ended, where the signal tells that.
func jobResult(s *dbus.Signal, job dbus.ObjectPath) (result string, ours bool) {
	var id uint32
	var path dbus.ObjectPath
	var unit string
	if s.Name != "org.freedesktop.systemd1.Manager.JobRemoved" || dbus.Store(s.Body, &id, &path, &unit, &result) != nil {
		return "", false
	}
	return result, path == job
}
