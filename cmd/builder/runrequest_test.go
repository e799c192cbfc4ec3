package main

import (
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// requested gives what the command line "builder run ARGS" asks for.
func requested(args ...string) (r containerRequest, err error) {
	app := newApp(io.Discard, io.Discard)
	app.Command("run").Flags = runFlags()
	err = readLine(app, "run", args, func(c *cli.Context) error {
		r, err = readRequest(c)
		return err
	})
	return r, err
}

func TestRunRefusesWhatCannotBe(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "needs an image",
		"-p 80:70000 img":                     "70000",
		"-p 80 --network host img":            "can't be published with --network host",
		"--network nonsense img":              "nonsense",
		"--dns nonsense img":                  `--dns "nonsense" is no IP address`,
		"--name -x img":                       "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		"--name x img":                        "Invalid container name (x), only",
		"--rm --restart always img":           "Conflicting options: --restart and --rm",
		"--restart sometimes img":             "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
		"--restart always:3 img":              "invalid restart policy: maximum retry count can only be used with 'on-failure'",
		"--restart on-failure:-1 img":         "invalid restart policy: maximum retry count cannot be negative",
		"--restart on-failure:x img":          "invalid restart policy: maximum retry count must be an integer",
		"--stop-signal NONSENSE img":          "invalid signal: NONSENSE",
		"-d -a stdout img":                    "Conflicting options: -a and -d",
		"-a nowhere img":                      "valid streams are STDIN, STDOUT and STDERR",
		"--detach-keys ctrl-1 img":            "invalid detach keys (ctrl-1)",
		"--log-driver syslog img":             "logger: no log driver named 'syslog' is registered",
		"--log-opt max-file=3 img":            "max-file cannot be set without max-size",
		"--log-opt max-size=x img":            "it is no size",
		"--log-opt colour=red img":            "unknown log opt 'colour' for json-file log driver",
		"--log-driver none --log-opt a=b img": "invalid logging opts for driver none",
		"-e =x img":                           "invalid environment variable: =x",
		"-l =x img":                           "invalid label '=x': empty name",
		"--userns host img":                   "--userns host",
		"--cap-add NONSENSE img":              "NONSENSE",
	} {
		if _, err := requested(strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, which doesn't tell %q", line, err, want)
		}
	}
}
