package layer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// envInside tells the test binary that it runs in the user namespace that
// TestMain has made.
const envInside = "LAYER_TEST_INSIDE"

// TestMain runs all tests as root of a user namespace with many ids, as the
// package runs in builder: an unprivileged user's by his subordinate range,
// root's own by ids mapped onto themselves.
func TestMain(m *testing.M) {
	if os.Getenv(envInside) != "" {
		os.Exit(m.Run())
	}
	err := runInside()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "these tests need a user namespace with subordinate ids (/etc/subuid, newuidmap):", err)
		os.Exit(1)
	}
}

// runInside starts the test binary again. A shell waits until the ids are
// mapped: exec makes it root, with all capabilities, only after that.
func runInside() error {
	hold, release, err := os.Pipe()
	if err != nil {
		return err
	}
	args := append([]string{"-c", `read x <&3; exec 3<&-; exec "$0" "$@"`, "/proc/self/exe"}, os.Args[1:]...)
	if args[2], err = os.Executable(); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{hold}
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() == 0 {
		self := []syscall.SysProcIDMap{{Size: 65536}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = self, self
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		if err := mapRange(cmd.Process.Pid); err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
	if err := errors.Join(release.Close(), hold.Close()); err != nil {
		return err
	}
	return cmd.Wait()
}

func mapRange(pid int) error {
	for tool, file := range map[string]string{"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"} {
		first, size, err := subordinate(file)
		if err != nil {
			return err
		}
		own := os.Geteuid()
		if tool == "newgidmap" {
			own = os.Getegid()
		}
		out, err := exec.Command(tool, strconv.Itoa(pid), "0", strconv.Itoa(own), "1", "1", first, size).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", tool, err, out)
		}
	}
	return nil
}

func subordinate(file string) (first, size string, err error) {
	u, err := user.Current()
	if err != nil {
		return "", "", err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Split(line, ":")
		if len(f) == 3 && (f[0] == u.Username || f[0] == u.Uid) {
			return f[1], f[2], nil
		}
	}
	return "", "", fmt.Errorf("%s has no range for %s", file, u.Username)
}
