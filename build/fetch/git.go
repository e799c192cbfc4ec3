package fetch

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// runScript runs git so that the modes of files are its own, whatever the
// caller's umask, and so that all that it has started ends when descriptor 3
// does: with builder, however that dies.
const runScript = `umask 022
{ read -r _ <&3; kill -9 0; } </dev/null >/dev/null 2>&1 &
exec git "$@" 3<&-`

// settings keep git from starting anything that the user has configured, and
// from changing what files hold.
var settings = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "advice.detachedHead=false",
	"-c", "core.autocrlf=false", "-c", "core.attributesFile=/dev/null",
}

// run runs git in a directory, where that isn't "", and gives its output.
func (g git) run(ctx context.Context, dir string, args ...string) (string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", fault.New("install it: apt-get install git", "a git repository needs the git program, which isn't there")
	}
	env, err := g.environment()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat([]string{"-c", runScript, "git"}, settings, args)...)
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	alive, held, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer alive.Close()
	defer held.Close()
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // nobody is asked on the terminal
	if g.access.AsCaller != nil && overSSH(g.remote) {
		g.access.AsCaller(cmd)
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		said := stderr.String()
		return "", &gitError{fault: fault.New(g.remedy(said), "%s: %w", Redacted(g.remote), words(said, hasLogin(env), err)), stderr: said}
	}
	return stdout.String(), nil
}

// gitError keeps all that git said.
type gitError struct {
	fault  *fault.Error
	stderr string
}

func (e *gitError) Error() string { return e.fault.Error() }
func (e *gitError) Unwrap() error { return e.fault }

// shallow runs git with --depth=1, and without where the server can't do that.
func (g git) shallow(ctx context.Context, dir string, args ...string) error {
	_, err := g.run(ctx, dir, args...)
	var failed *gitError
	if errors.As(err, &failed) && (strings.Contains(failed.stderr, "--depth") || strings.Contains(failed.stderr, "shallow")) {
		_, err = g.run(ctx, dir, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--depth=1" })...)
	}
	return err
}

// remedy is what helps against what git says.
func (g git) remedy(said string) string {
	has := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(said, text) })
	}
	switch {
	case has("Host key verification failed"):
		host := g.sshHost()
		return "compare the key's fingerprint with what its owner publishes, then trust it: ssh-keyscan " + host + " >> ~/.ssh/known_hosts"
	case has("Permission denied (publickey"):
		return "the server knows none of the keys: see ssh-add -l, or name one by --ssh default=KEYFILE"
	case has(loginWanted...):
		return "pass a token by --secret id=" + authToken + ",env=NAME"
	case has("cannot run ssh", "ssh: not found"):
		return "install it: apt-get install openssh-client"
	case has("transport 'ssh' not allowed"):
		return "pass your ssh agent: --ssh default"
	}
	return "try it: git ls-remote " + Redacted(g.remote)
}

// sshHost is the host of an ssh address, as ssh-keyscan takes it.
func (g git) sshHost() string {
	u, err := url.Parse(g.remote)
	if err != nil || u.Host == "" {
		host, _, _ := strings.Cut(g.remote[strings.Index(g.remote, "@")+1:], ":")
		return host
	}
	if port := u.Port(); port != "" {
		return "-p " + port + " " + u.Hostname()
	}
	return u.Hostname()
}

// loginWanted are git's words where a server answers 401.
var loginWanted = []string{"could not read Username", "could not read Password", "Authentication failed"}

// words tell what went wrong, most of them git's own. What ssh says stands above
// git's last word.
func words(stderr string, login bool, err error) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		if strings.Contains(line, "Host key verification failed") || strings.Contains(line, "Permission denied (") {
			return errors.New("ssh: " + strings.TrimSuffix(strings.TrimSpace(line), "."))
		}
	}
	for _, line := range lines {
		text, fatal := strings.CutPrefix(line, "fatal: ")
		switch {
		case !fatal:
		case !slices.ContainsFunc(loginWanted, func(words string) bool { return strings.Contains(text, words) }):
			return errors.New("git: " + text)
		case login:
			return errors.New("the server doesn't accept the login")
		default:
			return errors.New("the server asks for a login")
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		return errors.New("git: " + strings.TrimPrefix(last, "error: "))
	}
	return err
}

// hasLogin says whether an environment that env made gives git a login.
func hasLogin(env []string) bool {
	return slices.ContainsFunc(env, func(kv string) bool {
		return strings.HasPrefix(kv, "GIT_CONFIG_VALUE_") && strings.Contains(kv, "=Authorization: ")
	})
}
