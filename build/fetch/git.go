package fetch

import (
	"bytes"
	"context"
	"encoding/base64"
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

// git runs the git program for one repository. Nothing of the user's or the
// system's configuration is read, so that the same commit gives the same files
// on every machine, and no Dockerfile can use the user's logins.
type git struct {
	remote string // without a login
	env    []string
}

// gitEnv is what git sees of the environment.
var gitEnv = []string{
	"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
}

func newGit(remote string) (git, error) {
	g := git{remote: remote, env: []string{
		"HOME=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=120", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https:git", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C",
	}}
	for _, name := range gitEnv {
		if value, ok := os.LookupEnv(name); ok {
			g.env = append(g.env, name+"="+value)
		}
	}
	u, err := url.Parse(remote)
	if err != nil || u.Scheme == "" {
		return g, fault.New("use the repository's https address", "git over ssh is not supported yet")
	}
	switch u.Scheme {
	case "http", "https", "git":
	default:
		return g, fault.New("use the repository's https address", "git over %s is not supported yet", u.Scheme)
	}
	g.logIn(u)
	return g, nil
}

// logIn takes the login out of the address, for arguments of processes can be
// read by everybody, and gives it to git by the environment.
func (g *git) logIn(u *url.URL) {
	if u.User == nil {
		return
	}
	password, _ := u.User.Password()
	login := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	u.User = nil
	g.remote = u.String()
	g.env = append(g.env, "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http."+u.Scheme+"://"+u.Host+"/.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic "+login)
}

// runScript runs git so that the modes of files are its own, whatever the
// caller's umask, and so that all that it has started ends when descriptor 3
// does: with builder, however that dies.
const runScript = `umask 022
{ read -r _ <&3; kill -9 0; } </dev/null >/dev/null 2>&1 &
exec git "$@" 3<&-`

// run runs git in a directory, where that isn't "", and gives its output.
func (g git) run(ctx context.Context, dir string, args ...string) (string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", fault.New("install it: apt-get install git", "a git repository needs the git program, which isn't there")
	}
	fixed := []string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "advice.detachedHead=false"}
	cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat([]string{"-c", runScript, "git"}, fixed, args)...)
	cmd.Dir, cmd.Env = dir, g.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	alive, held, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer alive.Close()
	defer held.Close()
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", &gitError{fault: fault.New("try it: git ls-remote "+g.remote, "%s: %w", g.remote, said(stderr.String(), err)), stderr: stderr.String()}
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

// said is the line of git's output that tells what went wrong.
func said(stderr string, err error) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "fatal: "); ok {
			return errors.New("git: " + text)
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		return errors.New("git: " + strings.TrimPrefix(last, "error: "))
	}
	return err
}
