package fetch

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/builder-oci/builder/internal/fault"
)

// Access is what git gets to reach repositories with. It may be used by several
// goroutines at once, as may its functions.
type Access struct {
	// AsUser is for an address that the user gave: git and ssh then know the
	// user's configuration, logins and keys. What a Dockerfile names has none of
	// them, so that the same commit gives the same files on every machine, and
	// nobody's Dockerfile uses somebody's logins.
	AsUser bool
	// Secret gives the value of a secret of the build, and whether there is one.
	// It may be nil.
	Secret func(name string) (value []byte, given bool, err error)
	// SSH are the build's keys for ssh, nil where it was given none.
	SSH *Keys
	// AsCaller prepares a git that goes by ssh, which wants to know the user,
	// where this process runs under another id. It may be nil.
	AsCaller func(*exec.Cmd)
}

// Keys are an ssh agent's, by the path of its socket, or lie in files.
type Keys struct {
	Socket string
	Files  []string
}

// Names of the secrets that are logins, as BuildKit has them; with a dot and a
// host behind it, one is for that host alone.
const (
	authHeader = "GIT_AUTH_HEADER" // what stands behind "Authorization:"
	authToken  = "GIT_AUTH_TOKEN"  // a password of the user x-access-token
)

// gitEnv is what git sees of the environment where it doesn't act for the user.
var gitEnv = []string{
	"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
}

// otherRepository are the variables that lead git to another repository, as in
// a hook.
var otherRepository = []string{
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
}

// git runs the git program for one repository.
type git struct {
	remote string // without a login
	access Access
	// environment is made when it is first needed: it reads secrets.
	environment func() ([]string, error)
}

func newGit(remote string, access Access) (git, error) {
	g := git{remote: remote, access: access}
	if overSSH(remote) {
		if access.SSH == nil && !access.AsUser {
			return g, fault.New("pass your agent by --ssh default, or a key by --ssh default=KEYFILE",
				"git over ssh needs a key, and the build wasn't given one")
		}
		g.environment = sync.OnceValues(func() ([]string, error) { return g.env("", "") })
		return g, nil
	}
	u, err := url.Parse(remote)
	if err != nil {
		return g, fault.New("use the repository's https address", "%s is no address of a repository", Redacted(remote))
	}
	// Arguments of processes can be read by everybody.
	login := u.User
	u.User = nil
	g.remote = u.String()
	g.environment = sync.OnceValues(func() ([]string, error) {
		scope, header := u.Scheme+"://"+u.Host+"/", basic(login)
		if login == nil {
			scope = tokenScope(g.remote)
			var err error
			if header, err = access.login(u.Host); err != nil {
				return nil, err
			}
		}
		return g.env(scope, header)
	})
	return g, nil
}

// basic is the login of an address as a header.
func basic(login *url.Userinfo) string {
	if login == nil {
		return ""
	}
	password, _ := login.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(login.Username()+":"+password))
}

// login gives the header that the build's secrets have for a host, or "".
func (a Access) login(host string) (string, error) {
	if a.Secret == nil {
		return "", nil
	}
	for _, name := range []string{authHeader + "." + host, authToken + "." + host, authHeader, authToken} {
		value, given, err := a.Secret(name)
		if err != nil {
			return "", err
		}
		if !given {
			continue
		}
		value = bytes.TrimSpace(value)
		if bytes.ContainsAny(value, "\r\n\x00") {
			return "", fault.New("", "the secret %s has more than one line", name)
		}
		if strings.HasPrefix(name, authToken) {
			return basic(url.UserPassword("x-access-token", string(value))), nil
		}
		return string(value), nil
	}
	return "", nil
}

// tokenScope is where a secret is sent to: to the repository, and to all of
// those on GitHub for one that lies there, as its submodules do.
func tokenScope(remote string) string {
	for _, all := range []string{"https://github.com/", "https://www.github.com/"} {
		if strings.HasPrefix(remote, all) {
			return all
		}
	}
	return remote
}

// env gives git's environment, with a header for the addresses in a scope. It
// can be read by the user alone.
func (g git) env(scope, header string) ([]string, error) {
	var env []string
	if g.access.AsUser {
		env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return slices.Contains(otherRepository, name)
		})
	} else {
		for _, name := range gitEnv {
			if value, ok := os.LookupEnv(name); ok {
				env = append(env, name+"="+value)
			}
		}
		env = append(env, "HOME=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1")
	}
	env = append(env, "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=120", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	if header != "" {
		env = addConfig(env, "http."+scope+".extraHeader", "Authorization: "+header)
	}
	return g.sshEnv(env)
}

// addConfig gives git a setting by the environment, behind those that are in it
// already.
func addConfig(env []string, key, value string) []string {
	n := 0
	for _, kv := range env {
		if text, ok := strings.CutPrefix(kv, "GIT_CONFIG_COUNT="); ok {
			n, _ = strconv.Atoi(text) // git refuses what is no number
		}
	}
	return append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", n+1),
		fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, value))
}

// sshEnv lets git's ssh use the build's keys. Where it doesn't act for the user
// it gets no others, and trusts the hosts that the user knows.
func (g git) sshEnv(env []string) ([]string, error) {
	keys := g.access.SSH
	if keys != nil && keys.Socket != "" {
		env = append(env, "SSH_AUTH_SOCK="+keys.Socket)
	}
	if g.access.AsUser {
		if keys == nil || len(keys.Files) == 0 {
			return env, nil
		}
		own := os.Getenv("GIT_SSH_COMMAND")
		if own == "" {
			own = "ssh"
		}
		command, err := sshCommand(own, keys.options())
		return append(env, "GIT_SSH_COMMAND="+command), err
	}
	if keys == nil {
		return append(env, "GIT_ALLOW_PROTOCOL=http:https:git"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the ssh hosts that you know: %w", err)
	}
	command, err := sshCommand("ssh -F /dev/null", append(keys.options(),
		"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "ClearAllForwardings=yes",
		`UserKnownHostsFile="`+filepath.Join(home, ".ssh", "known_hosts")+`"`))
	return append(env, "GIT_ALLOW_PROTOCOL=http:https:git:ssh", "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+command), err
}

// options are those of an ssh that has these keys and no others of its own.
func (k *Keys) options() []string {
	if len(k.Files) == 0 {
		return []string{"IdentityFile=none"}
	}
	options := []string{"IdentitiesOnly=yes"}
	for _, name := range k.Files {
		options = append(options, `IdentityFile="`+name+`"`)
	}
	return options
}

// sshCommand gives an ssh options, as a shell reads them.
func sshCommand(ssh string, options []string) (string, error) {
	words := []string{ssh}
	for _, option := range options {
		if strings.Count(option, `"`) > 2 || strings.Contains(option, "%") {
			return "", fault.New("give the file another name", "ssh can't be told of %s", option)
		}
		words = append(words, "-o", "'"+strings.ReplaceAll(option, "'", `'\''`)+"'")
	}
	return strings.Join(words, " "), nil
}

// overSSH tells ssh://… and git@host:path from what git fetches itself.
func overSSH(remote string) bool {
	return strings.HasPrefix(remote, "ssh://") || !strings.Contains(remote, "://")
}
