package transport

import (
	"os"
	"path/filepath"

	"github.com/containers/image/v5/types"
)

// kanikoConfigDir is where users of kaniko mount docker's configuration, or "" where
// there is none.
func kanikoConfigDir() string {
	dir := os.Getenv("KANIKO_DIR")
	if dir == "" {
		dir = "/kaniko"
	}
	dir = filepath.Join(dir, ".docker")
	if !isThere(filepath.Join(dir, dockerConfigFile)) {
		return ""
	}
	return dir
}

// fromKanikos reads logins from there, where there are no others: kaniko sets
// DOCKER_CONFIG, and others don't.
func fromKanikos(sys *types.SystemContext) {
	if dir := kanikoConfigDir(); dir != "" && dockerConfigDir() == dir && os.Getenv("DOCKER_CONFIG") == "" {
		sys.DockerCompatAuthFilePath = filepath.Join(dir, dockerConfigFile)
	}
}

// hasLogins tells whether there is a file of credentials in one of the usual
// places.
func hasLogins(home string) bool {
	files := []string{filepath.Join(home, ".docker", dockerConfigFile), filepath.Join(home, ".dockercfg")}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers/auth.json"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "containers/auth.json"))
	}
	for _, file := range files {
		if isThere(file) {
			return true
		}
	}
	return false
}
