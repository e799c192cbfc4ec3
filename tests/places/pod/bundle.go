package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bundle is a directory with what runc needs for one container: config.json,
// a root file system that is an overlay over the image's unpacked tree, as
// containerd mounts it, and the files that the kubelet makes.
type bundle struct {
	options
	dir     string
	mounted bool
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

func makeBundle(o options) (_ *bundle, err error) {
	lower, err := o.unpacked()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.cache, "pod")
	if err != nil {
		return nil, err
	}
	b := &bundle{options: o, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.remove())
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // a mapped root has to pass
		return nil, err
	}
	if err := b.mountRoot(lower); err != nil {
		return nil, err
	}
	if err := b.writeFiles(); err != nil {
		return nil, err
	}
	return b, b.makeEmptyDirs()
}

func (b *bundle) mountRoot(lower string) error {
	for _, name := range []string{"rootfs", "upper", "work", "token"} {
		if err := os.Mkdir(b.path(name), 0o755); err != nil {
			return err
		}
	}
	if !b.hostUsers {
		for _, name := range []string{"upper", "work"} {
			if err := unix.Chown(b.path(name), firstID, firstID); err != nil {
				return err
			}
		}
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, b.path("upper"), b.path("work"))
	if err := unix.Mount("overlay", b.path("rootfs"), "overlay", 0, data); err != nil {
		return fmt.Errorf("mounting the image: %w", err)
	}
	b.mounted = true
	return nil
}

func (b *bundle) writeFiles() error {
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	s, err := b.spec()
	if err != nil {
		return err
	}
	config, err := json.Marshal(s)
	if err != nil {
		return err
	}
	hosts := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.244.0.7\tbuilder-pod\n"
	for name, data := range map[string]string{
		"config.json": string(config),
		"hosts":       hosts,
		"hostname":    "builder-pod\n",
		"resolv.conf": string(resolver),
		"token/token": "none\n",
	} {
		if err := os.WriteFile(b.path(name), []byte(data), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// run runs the container and waits for it. What ends this process ends the
// container: runc passes signals on, but its pid 1 would ignore most.
func (b *bundle) run() error {
	runc := func(args ...string) *exec.Cmd {
		cmd := exec.Command("runc", append([]string{"--root", b.path("state")}, args...)...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-signals:
			_ = runc("kill", b.id(), "KILL").Run() // it may have ended by itself
		case <-ended:
		}
	}()

	cmd := runc("run", "--bundle", b.dir, b.id())
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	return cmd.Run()
}

func (b *bundle) remove() error {
	if b.mounted {
		if err := unix.Unmount(b.path("rootfs"), 0); err != nil {
			return fmt.Errorf("unmounting %s: %w", b.path("rootfs"), err)
		}
	}
	return os.RemoveAll(b.dir)
}

// unpacked gives the directory where the image's tree is unpacked, once, with
// owners as the pod's user namespace has them.
func (o options) unpacked() (string, error) {
	dir := filepath.Join(o.cache, "trees", strings.TrimSuffix(filepath.Base(o.tree), ".tar"))
	if !o.hostUsers {
		dir += "-mapped"
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()

	tarball, err := os.Stat(o.tree)
	if err != nil {
		return "", err
	}
	if made, err := os.Stat(dir); err == nil && made.ModTime().Equal(tarball.ModTime()) {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		return "", err
	}
	if err := o.unpack(dir); err != nil {
		return "", err
	}
	return dir, os.Chtimes(dir, tarball.ModTime(), tarball.ModTime())
}

// unpack runs tar, in a user namespace where owners are to be mapped: so file
// capabilities and setuid bits come out right as well.
func (o options) unpack(dir string) error {
	tarball, err := os.Open(o.tree)
	if err != nil {
		return err
	}
	defer tarball.Close()
	cmd := exec.Command("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--same-owner",
		"--xattrs", "--xattrs-include=*", "--exclude=./dev/*", "--directory", dir)
	cmd.Stdin = tarball
	if !o.hostUsers {
		if err := unix.Chown(dir, firstID, firstID); err != nil {
			return err
		}
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstID, Size: countIDs}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w\n%s", o.tree, err, out)
	}
	return nil
}

// lock takes a lock that the process's end gives back too.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
