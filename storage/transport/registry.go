package transport

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/types"
	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
)

const (
	userAgent    = "builder"
	authFileEnv  = "REGISTRY_AUTH_FILE"
	dockerScheme = "docker://"
)

// A remote is an image in a registry.
type remote struct {
	name   string // canonical, by which the image is known here
	domain string // of the registry that is asked
	ref    types.ImageReference
	sys    *types.SystemContext
}

// WithoutScheme gives the name in docker://NAME.
func WithoutScheme(name string) string { return strings.TrimPrefix(name, dockerScheme) }

// remote finds the registry that name means.
func (o Options) remote(name string) (*remote, error) {
	name = WithoutScheme(name)
	canonical, err := layout.ParseName(name)
	if err != nil {
		return nil, err
	}
	named, err := reference.ParseNormalizedNamed(canonical)
	if err != nil {
		return nil, err
	}
	sys, err := o.system()
	if err != nil {
		return nil, err
	}
	if named, err = o.resolve(name, named, sys); err != nil {
		return nil, err
	}
	if err := blocked(named, sys); err != nil {
		return nil, err
	}
	ref, err := docker.NewReference(named)
	if err != nil {
		return nil, err
	}
	domain := reference.Domain(named)
	o.setTLS(sys, domain)
	if err := fromDockersStore(sys, named.Name()); err != nil {
		return nil, err
	}
	return &remote{name: canonical, domain: domain, ref: ref, sys: sys}, nil
}

// system tells the library what the options say. registries.conf, certs.d and
// the usual auth files are found by the library itself.
func (o Options) system() (*types.SystemContext, error) {
	sys := &types.SystemContext{
		SystemRegistriesConfPath: os.Getenv(RegistriesEnv),
		DockerPerHostCertDirPath: os.Getenv(CertsEnv),
		BigFilesTemporaryDir:     o.TempDir,
		BlobInfoCacheDir:         o.TempDir, // what it remembers of registries isn't worth a database in the user's home
		DockerRegistryUserAgent:  userAgent,
	}
	if sys.SystemRegistriesConfPath != "" {
		if _, err := os.Stat(sys.SystemRegistriesConfPath); err != nil {
			return nil, fault.New("name an existing file, or unset "+RegistriesEnv, "%s: %w", RegistriesEnv, err)
		}
	}
	if err := o.setPlatform(sys); err != nil {
		return nil, err
	}
	if err := o.setAuth(sys); err != nil {
		return nil, err
	}
	return sys, nil
}

// setTLS says whether the registry of a domain must prove itself.
func (o Options) setTLS(sys *types.SystemContext, domain string) {
	verify := !isLoopback(domain)
	if o.TLSVerify != nil {
		verify = *o.TLSVerify
	}
	if !verify {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	} else if o.TLSVerify != nil {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolFalse // registries.conf doesn't overrule the user
	}
}

func (o Options) setPlatform(sys *types.SystemContext) error {
	if o.Platform == "" {
		return nil
	}
	p, err := platform.Parse(o.Platform)
	sys.OSChoice, sys.ArchitectureChoice, sys.VariantChoice = p.OS, p.Architecture, p.Variant
	return err
}

func (o Options) setAuth(sys *types.SystemContext) error {
	if o.Creds != "" {
		user, password, _ := strings.Cut(o.Creds, ":")
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: user, Password: password}
		return nil
	}
	file := o.authFile()
	if file == "" {
		fromKanikos(sys)
		return nil
	}
	if _, err := os.Stat(file); err != nil {
		return fault.New("name an existing file, or write one: builder login --authfile "+file+" REGISTRY",
			"file of registry credentials: %w", err)
	}
	sys.AuthFilePath = file
	return nil
}

// authFile is the file of credentials that the user has named, or "".
func (o Options) authFile() string {
	if o.AuthFile != "" {
		return o.AuthFile
	}
	return os.Getenv(authFileEnv)
}

// isLoopback tells whether a registry is on this machine. Such a one may speak
// plain HTTP, as docker has it.
func isLoopback(domain string) bool {
	host := domain
	if h, _, err := net.SplitHostPort(domain); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// authHint says where credentials are read from.
func (o Options) authHint(domain string) string {
	if file := o.authFile(); file != "" {
		return fmt.Sprintf("log in: builder login --authfile %s %s", file, domain)
	}
	places := filepath.Join(dockerConfigDir(), dockerConfigFile)
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		places = filepath.Join(dir, "containers/auth.json") + " and " + places
	}
	return fmt.Sprintf("log in: builder login %s (docker login and podman login do as well)\ncredentials are read from %s, or from --authfile FILE", domain, places)
}
