package main

import (
	"encoding/json"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/cmd/builder/detach"
	"github.com/builder-oci/builder/storage/transport"
)

// usualDetachKeys leave a container running where nothing else was said: ctrl-p,
// ctrl-q.
var usualDetachKeys = []byte{'p' & 0x1f, 'q' & 0x1f}

func detachKeysFlag() cli.Flag {
	return &cli.StringFlag{Name: "detach-keys", Hidden: true, Usage: "leave it running at these `KEYS`, such as ctrl-p,ctrl-q"}
}

// readDetachKeys gives what a terminal sends for the keys that the user leaves a
// container by: those of the flag, else those in docker's configuration.
func readDetachKeys(c *cli.Context) ([]byte, error) {
	if text := c.String("detach-keys"); text != "" {
		return detach.ParseKeys(text)
	}
	if keys, err := detach.ParseKeys(dockerDetachKeys()); err == nil && len(keys) > 0 {
		return keys, nil
	}
	return usualDetachKeys, nil
}

// dockerDetachKeys are those that the user has chosen for docker.
func dockerDetachKeys() string {
	var config struct {
		DetachKeys string `json:"detachKeys"`
	}
	data, err := os.ReadFile(transport.DockerConfigFile())
	if err != nil || json.Unmarshal(data, &config) != nil {
		return ""
	}
	return config.DetachKeys
}
