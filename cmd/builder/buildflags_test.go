package main

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/rootless/network"
)

// readBud gives what the command line "builder bud ARGS" means.
func readBud(args ...string) (o build.Options, err error) {
	app := newApp(io.Discard, io.Discard)
	err = readLine(app, "bud", args, func(c *cli.Context) error {
		o, err = buildOptions(c)
		return err
	})
	return o, err
}

// readLine parses a command line and hands it to action.
func readLine(app *cli.App, name string, args []string, action cli.ActionFunc) error {
	app.Command(name).Action = action
	line, err := canonical(app, append([]string{programName, name}, args...))
	if err != nil {
		return err
	}
	return app.Run(line)
}

func TestOnePlatformIsBuiltFor(t *testing.T) {
	here := platform.Here()
	for _, test := range []struct{ flags, want string }{
		{"--platform=linux/arm64", "linux/arm64"},
		{"--platform=arm64,linux/arm64/v8", "linux/arm64"},
		{"--platform=linux/arm/v6", "linux/arm/v6"},
		{"--platform=local", platform.Name(here)},
		{"--arch=arm --variant=v6", "linux/arm/v6"},
		{"--os=linux --arch=s390x", "linux/s390x"},
		{"--os=linux", platform.Name(v1.Platform{OS: here.OS, Architecture: here.Architecture})},
	} {
		o, err := readBud(append(strings.Fields(test.flags), t.TempDir())...)
		if err != nil || platform.Name(o.Platform) != test.want {
			t.Errorf("%s: %+v, %v", test.flags, o.Platform, err)
		}
	}
	if o, err := readBud(t.TempDir()); err != nil || o.Platform.OS != "" {
		t.Errorf("without: %+v, %v", o.Platform, err)
	}
	for flags, cause := range map[string]string{
		"--platform=linux/arm64,linux/amd64":  "one index for several platforms",
		"--platform=linux/x/y/z":              `--platform: bad platform "linux/x/y/z"`,
		"--platform=darwin/arm64":             "for linux only",
		"--arch=amd46":                        `--arch: bad platform "linux/amd46"`,
		"--os=windows --arch=amd64":           "for linux only",
		"--platform=linux/arm64 --arch=arm64": "it can't go with --arch",
	} {
		_, err := readBud(append(strings.Fields(flags), t.TempDir())...)
		if err == nil || !strings.Contains(err.Error(), cause) || fault.Remedy(err) == "" {
			t.Errorf("%s: %v", flags, err)
		}
	}
}

func TestBudReadsItsFlags(t *testing.T) {
	t.Setenv("FROM_ENVIRONMENT", "yes")
	t.Setenv(epochEnv, "")
	dir := t.TempDir()
	o, err := readBud(dir, "-t", "nginx:v2", "-t=my/app", "--build-arg", "A=b=c", "--build-arg", "FROM_ENVIRONMENT",
		"--build-arg", "NOWHERE_TO_BE_FOUND", "--label", "a,b=c", "--shm-size", "64m", "--ulimit", "nofile=10:20",
		"--add-host", "db:10.0.0.5", "--dns", "192.0.2.1", "--network", "none", "--timestamp", "0", "--layers", "--rm", "--disable-content-trust", "--progress=plain")
	if err != nil {
		t.Fatal(err)
	}
	if o.ContextDir != dir || !slices.Equal(o.Tags, []string{"nginx:v2", "my/app"}) {
		t.Errorf("context %q, tags %q", o.ContextDir, o.Tags)
	}
	if want := map[string]string{"A": "b=c", "FROM_ENVIRONMENT": "yes"}; !maps.Equal(o.BuildArgs, want) {
		t.Errorf("build arguments %q", o.BuildArgs)
	}
	if !slices.Equal(o.Labels, []string{"a,b=c"}) {
		t.Errorf("labels %q", o.Labels)
	}
	if o.ShmSize != 64<<20 || len(o.Ulimits) != 1 || o.Network.Mode != network.ModeNone {
		t.Errorf("shm %d, ulimits %v, network %q", o.ShmSize, o.Ulimits, o.Network)
	}
	if !slices.Equal(o.AddHosts, []string{"10.0.0.5\tdb"}) || !slices.Equal(o.DNS.Servers, []string{"192.0.2.1"}) {
		t.Errorf("hosts %q, dns %q", o.AddHosts, o.DNS.Servers)
	}
	if o.Epoch == nil || o.Epoch.Unix() != 0 {
		t.Errorf("time %v", o.Epoch)
	}
}

func TestBudTakesTheEpochAsABuildArgument(t *testing.T) {
	t.Setenv(epochEnv, "1600000000")
	for _, test := range []struct {
		line, arg string
		time      int64 // of --timestamp, -1 for none
	}{
		{"", "1600000000", -1},
		{"--timestamp=7", "1600000000", 7},
		{"--source-date-epoch=8", "8", -1},
		{"--build-arg=SOURCE_DATE_EPOCH=9", "9", -1},
		{"--build-arg=SOURCE_DATE_EPOCH=", "", -1},
	} {
		o, err := readBud(append(strings.Fields(test.line), t.TempDir())...)
		if err != nil || o.BuildArgs[epochEnv] != test.arg || (o.Epoch != nil) != (test.time >= 0) {
			t.Errorf("%q: %q, %v, %v", test.line, o.BuildArgs, o.Epoch, err)
		}
		if o.Epoch != nil && o.Epoch.Unix() != test.time {
			t.Errorf("%q: %v", test.line, o.Epoch)
		}
	}
	t.Setenv(epochEnv, "yesterday")
	if _, err := readBud(t.TempDir()); err == nil || !strings.Contains(err.Error(), epochEnv) {
		t.Errorf("no error of %s: %v", epochEnv, err)
	}
}

func TestBudRefusesWhatItCannotDo(t *testing.T) {
	t.Setenv(epochEnv, "")
	dir := t.TempDir()
	tests := []struct{ line, want string }{
		{"--secret id=x,src=nowhere .", "no file nowhere"},
		{"--ssh x=nowhere .", "nowhere: no such file"},
		{"--provenance mode=max .", "images without attestations"},
		{"--rm=false .", "--rm=false is not supported yet"},
		{"--progress rawjson .", "--progress rawjson is not supported yet"},
		{"--progress fancy .", `--progress "fancy" is none of auto, tty, plain, quiet`},
		{"--progress plain -q .", "--progress plain and --quiet can't be used together"},
		{"-f - -", "can't both be the standard input"},
		{"--build-context x .", "is not NAME=VALUE"},
		{"", "needs a build context"},
		{"one two", "takes one build context, not 2"},
		{"nowhere/at/all", "no such file"},
		{"-t UPPER .", "UPPER"},
		{"--format ova .", "neither oci nor docker"},
		{"--compression rar .", "rar"},
		{"--compression zstd --format docker .", "no zstd layers"},
		{"--compression-level 10 .", "levels from 1 to 9"},
		{"--shm-size big .", "is no size"},
		{"--network nonsense .", "nonsense"},
		{"--dns 10.0.0.300 .", `--dns "10.0.0.300" is no IP address`},
		{"--add-host db .", "db"},
		{"--jobs many .", "many"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			args := strings.Fields(test.line)
			if n := len(args); n > 0 && args[n-1] == "." {
				args[n-1] = dir
			}
			if _, err := readBud(args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, which doesn't tell %q", err, test.want)
			}
		})
	}
}
