package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/cgroup"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
)

// requested gives what the command line "builder run ARGS" asks for.
func requested(args ...string) (r containerRequest, err error) {
	err = readLine(newApp(io.Discard, io.Discard), "run", args, func(c *cli.Context) error {
		r, err = readRequest(c)
		return err
	})
	return r, err
}

func TestRunRefusesWhatCannotBe(t *testing.T) {
	for line, want := range map[string]string{
		"":                                      "needs an image",
		"-p 80:70000 img":                       "70000",
		"-p 80 --network host img":              "can't be published with --network host",
		"-P --network none img":                 "can't be published with --network none",
		"-p target=80,colour=red img":           `"colour" isn't one of published, target and protocol`,
		"--expose 80:80 img":                    "invalid range format for --expose: 80:80",
		"--network nonsense img":                "nonsense",
		"--dns nonsense img":                    `--dns "nonsense" is no IP address`,
		"--name -x img":                         "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		"--name x img":                          "Invalid container name (x), only",
		"--name a/b img":                        "Invalid container name (a/b), only",
		"--hostname a\u00a0b img":               "invalid hostname format for --hostname",
		"--rm --restart always img":             "Conflicting options: --restart and --rm",
		"--restart sometimes img":               "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
		"--restart always:3 img":                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
		"--restart on-failure:-1 img":           "invalid restart policy: maximum retry count cannot be negative",
		"--restart on-failure:3x img":           "invalid restart policy format: maximum retry count must be an integer",
		"--restart :3 img":                      "invalid restart policy format: no policy provided before colon",
		"--stop-signal NONSENSE img":            "invalid signal: NONSENSE",
		"--stop-signal 65 img":                  "invalid signal: 65",
		"-d -a stdout img":                      "Conflicting options: -a and -d",
		"-a nowhere img":                        "valid streams are STDIN, STDOUT and STDERR",
		"--detach-keys ctrl-1 img":              "invalid detach keys (ctrl-1) provided: unknown character: 'ctrl-1'",
		"--pull sometimes img":                  `invalid pull option: 'sometimes': must be one of "always", "missing" or "never"`,
		"--log-driver syslog img":               "logger: no log driver named 'syslog' is registered",
		"--log-opt max-file=3 img":              "max-file cannot be set without max-size",
		"--log-opt max-size=x img":              "max-size must be a positive number, not \"x\"",
		"--log-opt max-size=1m --log-opt a img": "unknown log opt 'a' for json-file log driver",
		"--log-opt colour=red img":              "unknown log opt 'colour' for json-file log driver",
		"--log-driver none --log-opt a=b img":   "invalid logging opts for driver none",
		"-e =x img":                             "invalid environment variable: =x",
		"-l =x img":                             "invalid label '=x': empty name",
		"img \xff":                              "has bytes that are not UTF-8",
		"--userns nomap img":                    "--userns nomap: a container has builder's user namespace",
		"--ipc host img":                        "--ipc host: a container has an ipc namespace of its own",
		"--pid container:x img":                 "--pid container:x: a container has a pid namespace of its own",
		"--cgroupns private img":                "--cgroupns private: a container has the machine's cgroup namespace",
		"--cap-add NONSENSE img":                "NONSENSE",
		"--security-opt nonsense img":           "--security-opt nonsense",
		"--device /nowhere img":                 "--device /nowhere",
		"--memory 1m img":                       "--memory",
		"--memory 8m --memory-reservation 9m i": "Minimum memory limit can not be less than memory reservation limit",
		"--blkio-weight 5 img":                  "range of blkio weight is from 10 to 1000",
		"--oom-score-adj 1001 img":              "Invalid value 1001, range for oom score adj is [-1000, 1000]",
		"--oom-score-adj -1000 img":             "only root makes the kernel spare a program",
		"--sysctl kernel.hostname=x img":        "sysctl 'kernel.hostname=x' is not allowed",
		"--sysctl net.ipv4/../x=1 img":          "is not allowed",
		"--health-cmd true img":                 "--health-cmd: builder runs no health checks",
		"--link db img":                         "--link: there are no networks yet",
		"--annotation a=b img":                  "--annotation: an annotation can tell the OCI runtime",
		"--oom-kill-disable img":                "--oom-kill-disable: cgroup version 2",
	} {
		_, err := requested(strings.Split(line, " ")...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, which doesn't tell %q", line, err, want)
		} else if code := fault.Code(err); code != 125 {
			t.Errorf("%q: the exit code is %d", line, code)
		}
	}
}

func TestRunReadsWhatIsAskedFor(t *testing.T) {
	usual, err := requested("img")
	if err != nil {
		t.Fatal(err)
	}
	n, low := func(i int) *int { return &i }, t.TempDir()
	for line, change := range map[string]func(*containerRequest){
		"img":                    func(*containerRequest) {},
		"img a -b":               func(r *containerRequest) { r.Args = []string{"a", "-b"} },
		"-it img":                func(r *containerRequest) { r.Interactive, r.Terminal, r.AttachedStdin = true, true, true },
		"-a stderr img":          func(r *containerRequest) { r.AttachedStdout = false },
		"-a STDIN -a stdout img": func(r *containerRequest) { r.AttachedStdin, r.AttachedStderr = true, false },
		"-di img":                func(r *containerRequest) { detached(r); r.Interactive = true },
		"-d --restart on-failure:3 img": func(r *containerRequest) {
			detached(r)
			r.Restart = container.Restart{Policy: "on-failure", Retries: 3}
		},
		"--restart unless-stopped img":                   func(r *containerRequest) { r.Restart.Policy = "unless-stopped" },
		"--rm --restart no img":                          func(r *containerRequest) { r.Remove = true },
		"--stop-signal sigrtmin+3 img":                   func(r *containerRequest) { r.StopSignal = "sigrtmin+3" },
		"--stop-timeout 0 img":                           func(r *containerRequest) { r.StopTimeout = n(0) },
		"--stop-timeout -5 img":                          func(r *containerRequest) { r.StopTimeout = n(-1) },
		"--detach-keys a,ctrl-\\,DEL img":                func(r *containerRequest) { r.DetachKeys = []byte{'a', 0x1c, 0x7f} },
		"--sig-proxy=false img":                          func(r *containerRequest) { r.SigProxy = false },
		"--entrypoint sh img":                            func(r *containerRequest) { r.Entrypoint = []string{"sh"} },
		"--entrypoint= img":                              func(r *containerRequest) { r.ResetEntry = true },
		"-l a -l b=c=d img":                              func(r *containerRequest) { r.Labels = map[string]string{"a": "", "b": "c=d"} },
		"--pull always -q img":                           func(r *containerRequest) { r.Pull, r.Quiet = pullAlways, true },
		"--platform linux/arm64 img":                     func(r *containerRequest) { r.Platform = "linux/arm64" },
		"--log-driver none img":                          func(r *containerRequest) { r.Log.Driver = "none" },
		"--log-opt max-size=2m img":                      func(r *containerRequest) { r.Log.MaxSize = 2_000_000 },
		"--log-opt max-size=1k --log-opt max-file=3 img": func(r *containerRequest) { r.Log.MaxSize, r.Log.MaxFile = 1000, 3 },
		"-p 127.0.0.1:8080:80 img": func(r *containerRequest) {
			r.Ports = []network.Port{{HostIP: "127.0.0.1", HostPort: 8080, ContainerPort: 80, Proto: "tcp"}}
		},
		"-p published=8080,target=80 img":                                         func(r *containerRequest) { r.Ports = []network.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}} },
		"-p target=53,protocol=udp img":                                           func(r *containerRequest) { r.Ports = []network.Port{{ContainerPort: 53, Proto: "udp"}} },
		"-P --expose 80-81 --expose 53/udp img":                                   func(r *containerRequest) { r.PublishAll, r.Expose = true, []string{"80/tcp", "81/tcp", "53/udp"} },
		"--network none img":                                                      func(r *containerRequest) { r.Network.Mode = network.ModeNone },
		"--userns host --ipc private --uts= --cgroupns host img":                  func(*containerRequest) {},
		"--userns keep-id img":                                                    func(r *containerRequest) { r.KeepID, r.CallerUID, r.CallerGID = true, os.Getuid(), os.Getgid() },
		"--cap-add net_admin,SYS_TIME img":                                        func(r *containerRequest) { r.CapAdd = []string{"net_admin", "SYS_TIME"} },
		"--security-opt no-new-privileges img":                                    func(r *containerRequest) { r.Security.NoNewPrivileges = true },
		"--privileged --read-only --init img":                                     func(r *containerRequest) { r.Privileged, r.ReadOnly, r.Init = true, true, true },
		"-m 64m --memory-reservation 32m img":                                     func(r *containerRequest) { r.Limits = cgroup.Limits{Memory: 64 << 20, MemoryReservation: 32 << 20} },
		"--cpus 1.5 --pids-limit 7 img":                                           func(r *containerRequest) { r.Limits = cgroup.Limits{CPUQuota: 150_000, CPUPeriod: 100_000, PIDs: 7} },
		"--pids-limit -1 --blkio-weight 10 img":                                   func(r *containerRequest) { r.Limits.IOWeight = 10 },
		"--oom-score-adj 1000 img":                                                func(r *containerRequest) { r.OOMScoreAdj = 1000 },
		"--sysctl net.core.somaxconn=9 img":                                       func(r *containerRequest) { r.Sysctls = map[string]string{"net.core.somaxconn": "9"} },
		"--cidfile " + low + "/id img":                                            func(r *containerRequest) { r.CIDFile = low + "/id" },
		"--group-add audio --no-healthcheck i":                                    func(r *containerRequest) { r.Groups, r.NoHealthcheck, r.Image = []string{"audio"}, true, "i" },
		"--oom-kill-disable=false --kernel-memory 1m --disable-content-trust img": func(*containerRequest) {},
	} {
		want := usual
		change(&want)
		got, err := requested(strings.Fields(line)...)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if len(got.Args) == 0 {
			got.Args = want.Args // empty, or none
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q gave\n%+v, not\n%+v", line, got, want)
		}
	}
}

func detached(r *containerRequest) {
	r.Detached, r.AttachedStdout, r.AttachedStderr = true, false, false
}

func TestDetachKeysAreThoseOfDockersConfiguration(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	for config, want := range map[string]string{
		`{"detachKeys": "ctrl-e,e"}`: "\x05e",
		`{"detachKeys": "nonsense"}`: "\x10\x11",
		`{"auths": {}}`:              "\x10\x11",
		`{"detachKeys": "ctrl-e`:     "\x10\x11",
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := requested("img"); err != nil || string(r.DetachKeys) != want {
			t.Errorf("%s: %q, %v", config, r.DetachKeys, err)
		}
	}
	if r, err := requested("--detach-keys", "x", "img"); err != nil || string(r.DetachKeys) != "x" {
		t.Errorf("with a flag: %q, %v", r.DetachKeys, err)
	}
}

func TestAnIDFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	f, err := newIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const found = "Container ID file found, make sure the other container isn't running or delete "
	if _, err := requested("--cidfile", path, "img"); err == nil || err.Error() != found+path {
		t.Errorf("a file that is there gave %v", err)
	}
	if _, err := newIDFile(path); err == nil || err.Error() != found+path {
		t.Errorf("a file that is made twice gave %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a container the file stays: %v", err)
	}
	if f, err = newIDFile(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.write("0123"), f.Close()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "0123" {
		t.Errorf("%q, %v", text, err)
	}
	none, err := newIDFile("")
	if err := errors.Join(err, none.write("0123"), none.Close()); err != nil {
		t.Errorf("no file gave %v", err)
	}
}
