package places

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a stock Debian 13 in qemu, and the ways into it.
type machine struct {
	dir  string
	port string
	qemu *exec.Cmd // nil while it is off
}

// bootLimit is for making the disk, too, and for hosts with other work.
const bootLimit = 20 * time.Minute

// newMachine boots a machine as its installer left it, with the binary under test
// and an ordinary user, ann. It is off, and its disk gone, when the test ends.
func newMachine(t *testing.T) *machine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m := &machine{dir: filepath.Join(ground.dir, "machine"), port: port}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.cut(t) })
	m.boot(t)
	m.root(t, "useradd --create-home --shell /bin/sh ann")
	m.put(t, os.Getenv("BUILDER"), "/usr/bin/builder")
	m.put(t, "testdata/probe.sh", "/probe.sh")
	m.put(t, ground.base, "/img.tar")
	return m
}

// boot turns the machine on, and waits until it lets root in.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	m.qemu = exec.Command("./machine.sh", m.dir, m.port)
	m.qemu.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	var out bytes.Buffer
	m.qemu.Stdout, m.qemu.Stderr = &out, &out
	if err := m.qemu.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(bootLimit); time.Now().Before(end); time.Sleep(2 * time.Second) {
		switch m.run(t, "root", "systemctl is-system-running --wait").output {
		case "running", "degraded": // what matters is tried
			return
		}
	}
	console, _ := os.ReadFile(filepath.Join(m.dir, "console.log")) // only to be shown
	t.Fatalf("the machine didn't boot within %s:\n%s\n%s", bootLimit, out.String(), console)
}

// cut is a power cut.
func (m *machine) cut(t *testing.T) {
	if m.qemu == nil {
		return
	}
	if err := unix.Kill(-m.qemu.Process.Pid, unix.SIGKILL); err != nil {
		t.Errorf("killing qemu: %v", err)
	}
	_ = m.qemu.Wait() // killed
	m.qemu = nil
}

// sshOptions serve ssh and scp.
func (m *machine) sshOptions() []string {
	return []string{
		"-q", "-i", m.dir + "/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=20", "-o", "Port=" + m.port,
	}
}

// run runs a shell script in a login session of a user.
func (m *machine) run(t *testing.T, user, text string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", append(m.sshOptions(), user+"@127.0.0.1", text)...).CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("ssh: %v", err)
	}
	r := result{output: strings.TrimSpace(string(out))}
	if exit != nil {
		r.code = exit.ExitCode()
	}
	return r
}

// until runs a script, and tells whether it printed a line; the script itself goes
// on, until the machine ends it.
func (m *machine) until(t *testing.T, user, text, line string) bool {
	cmd := exec.CommandContext(t.Context(), "ssh", append(m.sshOptions(), user+"@127.0.0.1", text)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return false
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return false
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == line {
			go func() { _ = cmd.Wait() }() // the connection breaks
			return true
		}
	}
	_ = cmd.Wait() // that it ended is all that counts
	return false
}

// ann runs a script as the ordinary user, and root as root, where it has to do.
func (m *machine) ann(t *testing.T, text string) result {
	t.Helper()
	return m.run(t, "ann", text)
}

func (m *machine) root(t *testing.T, text string) string {
	t.Helper()
	r := m.run(t, "root", "set -e; export DEBIAN_FRONTEND=noninteractive\n"+text)
	if r.code != 0 {
		t.Fatalf("%s: exit code %d:\n%s", text, r.code, r.output)
	}
	return r.output
}

// put copies a file of this machine into the other.
func (m *machine) put(t *testing.T, source, target string) {
	t.Helper()
	out, err := exec.Command("scp", append(m.sshOptions(), "-p", source, fmt.Sprintf("root@127.0.0.1:%s", target))...).CombinedOutput()
	if err != nil {
		t.Fatalf("copying %s: %v\n%s", source, err, out)
	}
}
