package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/types"
	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/lock"
)

// ErrNotLoggedIn says that there are no credentials for a registry where
// builder keeps them.
var ErrNotLoggedIn = config.ErrNotLoggedIn

const defaultRegistry = "docker.io"

// Server gives the key under which credentials of a registry are kept, for what
// a user writes: a host, an address of it as docker takes it, or a repository
// below it. Nothing stands for docker's registry.
func Server(text string) (string, error) {
	_, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		rest = text
	}
	rest = strings.TrimSuffix(rest, "/")
	host, path, _ := strings.Cut(rest, "/")
	if isURL || path == "v1" || path == "v2" {
		rest = host
	}
	if isDockers(host) {
		rest = strings.Replace(rest, host, defaultRegistry, 1)
	}
	if rest == "" && text == "" {
		return defaultRegistry, nil
	}
	if host == "" || strings.ContainsAny(rest, "@ \t\n") || strings.Contains(path, ":") {
		return "", fault.New("name it as quay.io, localhost:5000 or quay.io/team", "%q is no registry", text)
	}
	return rest, nil
}

// Registry is Server for what names a registry and nothing else: no address, and no
// host or port that there can't be.
func Registry(text string) (string, error) {
	if _, rest, isURL := strings.Cut(text, "://"); isURL {
		host, _, _ := strings.Cut(rest, "/")
		return "", fault.New("name the registry alone: "+host, "%q is an address, not a registry's name", text)
	}
	server, err := Server(text)
	if err != nil {
		return "", err
	}
	if domain := domainOf(server); text == "" || !isDomain(domain) {
		return "", fault.New("name it as quay.io or localhost:5000", "%q is no registry", text)
	}
	return server, nil
}

// isDomain tells whether an image's name could begin so.
func isDomain(text string) bool {
	form := regexp.MustCompile("^" + reference.DomainRegexp.String() + "$") // rarely asked for
	if !form.MatchString(text) {
		return false
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return true // there is none
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

func isDockers(host string) bool {
	return host == defaultRegistry || host == "index."+defaultRegistry || host == "registry-1."+defaultRegistry
}

func domainOf(server string) string {
	domain, _, _ := strings.Cut(server, "/")
	return domain
}

// CheckLogin asks a registry whether it takes these credentials.
func CheckLogin(ctx context.Context, server, user, password string, o Options) error {
	domain := domainOf(server)
	o.AuthFile, o.Creds = "", ""
	sys, err := o.system()
	if err != nil {
		return err
	}
	o.setTLS(sys, domain)
	sys.DockerAuthConfig = &types.DockerAuthConfig{Username: user, Password: password}
	err = o.retrying(o.reporter()).ask(ctx, func(ctx context.Context) error {
		return docker.CheckAuth(ctx, sys, user, password, host(domain))
	})
	if err != nil && isUnauthorized(err, registryCode(err)) {
		return fault.New("check user name and password; some registries want a token in its place",
			"login to %s: unauthorized: incorrect username or password", domain)
	}
	return o.explainServer(err, server, sys)
}

// StoreLogin keeps credentials where containers' tools do, and says where that is:
// a file, or a credential helper. File says that they lie there in the clear.
func StoreLogin(ctx context.Context, server, user, password string, o Options) (place string, file bool, err error) {
	err = o.changeLogins(ctx, func(sys *types.SystemContext) (err error) {
		place, err = config.SetCredentials(sys, server, user, password)
		file = filepath.IsAbs(place) || place == sys.AuthFilePath
		return err
	})
	if err != nil {
		return "", false, fault.New("see --authfile, and credHelpers in that file", "keep the login to %s: %w", server, withoutSecret(err, password))
	}
	return place, file, nil
}

// changeLogins calls fn, which changes what is kept of logins, while nobody else
// does: the library reads the file and writes it anew, without a lock.
func (o Options) changeLogins(ctx context.Context, fn func(*types.SystemContext) error) error {
	sys := o.writing()
	file := sys.AuthFilePath
	if file == "" {
		file = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fn(sys) // which says so, if it writes there at all
	}
	held, err := lock.Directory(ctx, filepath.Dir(file))
	switch {
	case err == nil:
		defer held.Unlock()
	case ctx.Err() != nil:
		return err
	} // NFS has no such locks
	return fn(sys)
}

// withoutSecret keeps a password out of an error: a credential helper may print
// what it was given.
func withoutSecret(err error, password string) error {
	if password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), password, "********"))
}

// RemoveLogin forgets the credentials of a registry. It is ErrNotLoggedIn where
// there are none; those in docker's own file are docker's to remove.
func RemoveLogin(ctx context.Context, server string, o Options) error {
	return o.changeLogins(ctx, func(sys *types.SystemContext) error { return config.RemoveAuthentication(sys, server) })
}

// RemoveLogins forgets the credentials of all registries.
func RemoveLogins(ctx context.Context, o Options) error {
	return o.changeLogins(ctx, config.RemoveAllAuthentication)
}

// Login gives the credentials that are used for a registry, empty ones where there
// are none.
func Login(server string, o Options) (user, password string, err error) {
	sys := &types.SystemContext{AuthFilePath: o.authFile()}
	if sys.AuthFilePath == "" {
		fromKanikos(sys)
	}
	if err := fromDockersStore(sys, server); err != nil {
		return "", "", err
	}
	found, err := config.GetCredentials(sys, server)
	return found.Username, found.Password, err
}

// writing tells the library where credentials are kept. Its own choice without a
// run-time directory is one below /run, that only root can make: then it is the
// second of the places where it looks.
func (o Options) writing() *types.SystemContext {
	sys := &types.SystemContext{AuthFilePath: o.authFile()}
	if sys.AuthFilePath == "" && os.Getenv("XDG_RUNTIME_DIR") == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			sys.AuthFilePath = filepath.Join(dir, "containers/auth.json")
		}
	}
	return sys
}
