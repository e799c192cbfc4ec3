package transport

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/types"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/builder-oci/builder/internal/fault"
)

const (
	dockerConfigFile = "config.json"
	// dockersServer is what docker calls its own registry in a credential helper.
	dockersServer = "https://index.docker.io/v1/"
	// tokenUser stands in a credential helper for the user of an identity token.
	tokenUser = "<token>"
)

// dockerConfigDir is where docker keeps its client's settings.
func dockerConfigDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if kanikos := kanikoConfigDir(); kanikos != "" && (err != nil || !hasLogins(home)) {
		return kanikos
	}
	if err != nil {
		return ".docker"
	}
	return filepath.Join(home, ".docker")
}

// DockerConfigFile is docker's own configuration of the user.
func DockerConfigFile() string { return filepath.Join(dockerConfigDir(), dockerConfigFile) }

// fromDockersStore looks for credentials of a repository in the one helper that
// docker's configuration names for all registries, credsStore: the library knows
// the others, which are asked first.
func fromDockersStore(sys *types.SystemContext, repository string) error {
	if sys.DockerAuthConfig != nil || sys.AuthFilePath != "" {
		return nil
	}
	helper, err := dockersHelper()
	if err != nil || helper == "" {
		return err
	}
	if known, err := config.GetCredentials(sys, repository); err != nil || known != (types.DockerAuthConfig{}) {
		return err
	}
	server := domainOf(repository)
	if isDockers(server) {
		server = dockersServer
	}
	found, err := client.Get(client.NewShellProgramFunc("docker-credential-"+helper), server)
	switch {
	case err != nil && credentials.IsErrCredentialsNotFoundMessage(err.Error()):
		return nil
	case err != nil:
		return fault.New("install docker-credential-"+helper+", or take credsStore out of "+filepath.Join(dockerConfigDir(), dockerConfigFile),
			"credentials of %s: %w", domainOf(repository), err)
	case found.Username == tokenUser:
		sys.DockerAuthConfig = &types.DockerAuthConfig{IdentityToken: found.Secret}
	default:
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: found.Username, Password: found.Secret}
	}
	return nil
}

// dockersHelper is the helper that docker's configuration names, or "".
func dockersHelper() (string, error) {
	file := filepath.Join(dockerConfigDir(), dockerConfigFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var settings struct {
		Store string `json:"credsStore"`
	}
	if err := json.Unmarshal(data, &settings); err != nil {
		return "", fault.New("mend or remove "+file, "docker's configuration %s: %w", file, err)
	}
	return settings.Store, nil
}
