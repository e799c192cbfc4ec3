package kaniko

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
)

// read makes a plan of words, as the command line does.
func read(t *testing.T, env map[string]string, words ...string) (plan *Plan, err error) {
	t.Helper()
	app := &cli.App{
		Flags: Flags(), DisableSliceFlagSeparator: true, HideVersion: true, Writer: io.Discard, ErrWriter: io.Discard,
		Action: func(c *cli.Context) error {
			plan, err = Read(c, func(name string) (string, bool) {
				value, ok := env[name]
				return value, ok
			})
			return nil
		},
	}
	if err := app.Run(append([]string{"executor"}, words...)); err != nil {
		t.Fatal(err)
	}
	return plan, err
}

// What every command line gets, before its own and behind it.
const progress = "--progress=plain"

func TestFlagsBecomeBuds(t *testing.T) {
	for _, tt := range []struct {
		what  string
		env   map[string]string
		words []string
		want  []string
	}{
		{"nothing", nil, nil, []string{"/workspace"}},
		{"directory", nil, []string{"--context=dir:///src", "--context-sub-path=a/b"}, []string{"/src/a/b"}},
		{"plain directory", nil, []string{"--context", "src", "--dockerfile", "docker/Dockerfile"}, []string{"--file=docker/Dockerfile", "src"}},
		{"directory like an option", nil, []string{"--context=--push"}, []string{"./--push"}},
		{"archive", nil, []string{"--context=tar://stdin", "--context-sub-path=a"}, []string{"--context-sub-path=a", "-"}},
		{"address", nil, []string{"--context=https://example.com/c.tar.gz"}, []string{"https://example.com/c.tar.gz"}},
		{"signed blob", nil, []string{"--context=https://a.blob.core.windows.net/c.tar.gz?sig=x"}, []string{"https://a.blob.core.windows.net/c.tar.gz?sig=x"}},
		{
			"arguments",
			map[string]string{"A": "of the environment"},
			[]string{"--build-arg=A", "--build-arg=B", "--build-arg=C=,=", "--label=l=1,2", "--annotation=a=b", "--secret=id=s,env=A", "--target=t"},
			[]string{"--build-arg=A=of the environment", "--build-arg=B=", "--build-arg=C=,=", "--label=l=1,2", "--annotation=a=b", "--secret=id=s,env=A", "--target=t", "/workspace"},
		},
		{"platform", nil, []string{"--custom-platform=linux/arm64"}, []string{"--platform=linux/arm64", "/workspace"}},
		{"platform as it was", nil, []string{"--customPlatform=linux/arm/v7"}, []string{"--platform=linux/arm/v7", "/workspace"}},
		{"no cache", nil, []string{"--cache=false"}, []string{"--no-cache=true", "/workspace"}},
		{"cache", nil, []string{"--cache=true"}, []string{"/workspace"}},
		{"one layer", nil, []string{"--single-snapshot", "--reproducible"}, []string{"--squash=true", "--timestamp=0", "/workspace"}},
		{"compression", nil, []string{"--compression=zstd", "--compression-level=3"}, []string{"--compression=zstd", "--compression-level=3", "/workspace"}},
		{"compression as it comes", nil, []string{"--compression-level=-1"}, []string{"/workspace"}},
		{"insecure pull", nil, []string{"--insecure-pull"}, []string{"--tls-verify=false", "/workspace"}},
		{"insecure push", nil, []string{"--insecure", "--skip-tls-verify"}, []string{"/workspace"}},
		{"repository", nil, []string{"--context=git://github.com/a/b"}, []string{"https://github.com/a/b.git?submodules=false"}},
		{
			"branch, by plain HTTP",
			map[string]string{"GIT_PULL_METHOD": "http"},
			[]string{"--context=git://host:8080/a/b.git#refs/heads/x", "--context-sub-path=/c/../d"},
			[]string{"http://host:8080/a/b.git?ref=refs%2Fheads%2Fx&subdir=d&submodules=false"},
		},
		{"commit", nil, []string{"--context=git://h/b.git#refs/heads/x#0123", "--git=branch=y", "--git=recurse-submodules=true"}, []string{"https://h/b.git?ref=0123&submodules=true"}},
		{
			"login", nil,
			[]string{"--context=git://TOKEN@h:1/b.git"},
			[]string{"--secret=id=GIT_AUTH_HEADER.h:1,env=" + gitLogin, "https://h:1/b.git?submodules=false"},
		},
	} {
		plan, err := read(t, tt.env, append(tt.words, "--no-push")...)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if want := append([]string{progress}, tt.want...); !slices.Equal(plan.Build, want) {
			t.Errorf("%s: bud %q, not %q", tt.what, plan.Build, want)
		}
	}
}

func TestLoginsReachGitByTheEnvironment(t *testing.T) {
	const basic = gitLogin + "=Basic "
	for what, tt := range map[string]struct {
		env  map[string]string
		want string
	}{
		"token":    {map[string]string{"GIT_TOKEN": "t", "GIT_USERNAME": "u", "GIT_PASSWORD": "p"}, basic + "dDo="},
		"password": {map[string]string{"GIT_USERNAME": "u", "GIT_PASSWORD": "p"}, basic + "dTpw"},
		"address":  {nil, basic + "YTpi"},
	} {
		plan, err := read(t, tt.env, "--context=git://a:b@h/r.git", "--git=insecure-skip-tls=true", "--no-push")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(plan.Env, []string{"GIT_SSL_NO_VERIFY=true", tt.want}) {
			t.Errorf("%s: the environment is %q", what, plan.Env)
		}
	}
}

func TestResultsArePushedOrWritten(t *testing.T) {
	plan, err := read(t, nil, "-d", "a/b:1", "-d", "c", "--tarPath=x.tar", "--oci-layout-path=dir", "--push-retry=2", "--insecure", "--push-ignore-immutable-tag-errors")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(plan.Build, []string{progress, "/workspace", "--tag=a/b:1", "--tag=c"}) || !slices.Equal(plan.PushFlags, []string{"--tls-verify=false"}) {
		t.Errorf("bud %q and push %q", plan.Build, plan.PushFlags)
	}
	if !plan.Push || plan.Tar != "x.tar" || plan.Layout != "dir" || plan.Retries != 2 || !plan.TakesImmutable {
		t.Errorf("the plan is %+v", plan)
	}
	for _, env := range []map[string]string{{"KANIKO_NO_PUSH": "true"}, {"KANIKO_NO_PUSH": "1"}} {
		if plan, err := read(t, env); err != nil || plan.Push {
			t.Errorf("%v: %v", env, err)
		}
	}
}

func TestWhatCantBeFollowedIsRefused(t *testing.T) {
	for what, words := range map[string][]string{
		"builder speaks with no store of a cloud":      {"--context=gs://b/c.tar.gz"},
		"s3://b/c.tar.gz: builder speaks":              {"--context=s3://b/c.tar.gz"},
		"no key for Azure's store":                     {"--context=https://a.blob.core.windows.net/c.tar.gz"},
		"unknown build context prefix":                 {"--context=ftp://h/c"},
		"please specify a path":                        {"--context="},
		"--bucket":                                     {"--bucket=b"},
		"a cache in a registry isn't supported yet":    {"--cache-repo=r"},
		"builder starts those that config.json names":  {"--credential-helpers=ecr"},
		"--snapshot-mode \"some\"":                     {"--snapshot-mode=some"},
		"--compression \"lz4\"":                        {"--compression=lz4"},
		"--verbosity \"loud\"":                         {"--verbosity=loud"},
		"--log-format \"xml\"":                         {"--log-format=xml"},
		"no address of a repository":                   {"--context=git://"},
		"invalid git flag":                             {"--context=git://h/r", "--git=main"},
		"--git colour isn't known":                     {"--context=git://h/r", "--git=colour=red"},
		"--git recurse-submodules=x can't be read":     {"--context=git://h/r", "--git=recurse-submodules=x"},
		"a Dockerfile is read from a file":             {"--dockerfile=https://h/Dockerfile"},
		"is no part of the build context":              {"--context=tar://stdin", "--dockerfile=/dev/null"},
		"one image is built":                           {"--target=a", "--target=b"},
		"https://h/d: a digest is written to a file":   {"--digest-file=https://h/d"},
		"there is no --destination":                    {"--image-name-with-digest-file=f"},
		"--registry-map \"docker.io\" has no mirror":   {"--registry-map=docker.io"},
		"--insecure-registry \"a\\\"":                  {"--insecure-registry=a\"\n"},
		"--registry-map \"a b\" is no registry":        {"--registry-map=docker.io=a b"},
		"--registry-mirror \"x y\" is no registry":     {"--registry-mirror=http://x y"},
		"--custom-platform: bad platform":              {"--custom-platform=foo/bar"},
		"--customPlatform: bad platform":               {"--customPlatform=foo/bar"},
		"gzip has levels from 1 to 9":                  {"--compression-level=10"},
		"zstd has levels from 1 to 22":                 {"--compression=zstd", "--compression-level=23"},
		"--registry-certificate \"r\" can't be read":   {"--registry-certificate=r"},
		"--registry-client-cert \"r=a\" can't be read": {"--registry-client-cert=r=a"},
		"an image's files aren't laid":                 {"--materialize"},
		"config.json alone":                            {"--azure-container-registry-config=f"},
	} {
		_, err := read(t, nil, append(words, "--no-push")...)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v, not %q", words, err, what)
		}
	}
	for name, value := range map[string]string{"KANIKO_REGISTRY_MIRROR": "x y", "KANIKO_REGISTRY_MAP": "docker.io=x y"} {
		if _, err := read(t, map[string]string{name: value}, "--no-push"); err == nil || err.Error() != name+` "x y" is no registry` {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	if _, err := read(t, nil, "--credential-helpers=", "--no-push"); err != nil {
		t.Errorf("no helper: %v", err)
	}
	if _, err := read(t, nil); err == nil || !strings.Contains(err.Error(), "you must provide --destination, or use --no-push") {
		t.Errorf("no destination: %v", err)
	}
}

func TestFlagsWithoutEffectAreTold(t *testing.T) {
	for _, f := range Table() {
		if f.Does != NoEffect {
			continue
		}
		value := map[string]string{
			"snapshot-mode": "time", "snapshotMode": "time", "log-format": "text", "image-download-retry": "1", "image-fs-extract-retry": "1",
			"ignore-path": "/x", "cache-dir": "/x", "cache-ttl": "1h",
		}[f.Name]
		if value == "" {
			value = "true"
		}
		plan, err := read(t, nil, "--no-push", "--"+f.Name+"="+value)
		if err != nil {
			t.Errorf("--%s: %v", f.Name, err)
			continue
		}
		told := slices.Concat(plan.Notes, plan.Warnings)
		if len(told) != 1 || !strings.HasPrefix(told[0], "--"+f.Name+" does nothing here: ") || len(plan.Build) != 2 {
			t.Errorf("--%s: told %q, bud %q", f.Name, told, plan.Build)
		}
	}
}

func TestRegistriesAreConfigured(t *testing.T) {
	for _, tt := range []struct {
		what  string
		env   map[string]string
		words []string
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"insecure", nil, []string{"--insecure-registry=b:5000", "--skip-tls-verify-registry=a"}, `
[[registry]]
prefix = "a"
location = "a"
insecure = true
[[registry]]
prefix = "b:5000"
location = "b:5000"
insecure = true
`},
		{"mirrors", map[string]string{"KANIKO_REGISTRY_MIRROR": "127.0.0.1:5000", "KANIKO_REGISTRY_MAP": "quay.io=[::1]:1"}, []string{"--registry-mirror=m/path", "--registry-mirror=http://n/", "--insecure-registry=m"}, `
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "m/path"
insecure = true
[[registry.mirror]]
location = "n"
insecure = true
[[registry.mirror]]
location = "127.0.0.1:5000"
insecure = true
[[registry]]
prefix = "m"
location = "m"
insecure = true
[[registry]]
prefix = "quay.io"
location = "quay.io"
[[registry.mirror]]
location = "[::1]:1"
insecure = true
`},
		{"maps, and no way back", nil, []string{"--registry-map=index.docker.io=a;index.docker.io=b;gcr.io=c", "--skip-default-registry-fallback"}, `
[[registry]]
prefix = "docker.io"
location = "b"
[[registry.mirror]]
location = "a"
[[registry]]
prefix = "gcr.io"
location = "gcr.io"
[[registry.mirror]]
location = "c"
`},
	} {
		plan, err := read(t, tt.env, append(tt.words, "--no-push")...)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if got := plan.Registries.Conf; got != strings.TrimPrefix(tt.want, "\n") {
			t.Errorf("%s:\n%s", tt.what, got)
		}
	}
	plan, err := read(t, nil, "--registry-certificate=r:1=ca.pem", "--registry-client-cert=r:1=c.pem,k.pem", "--no-push")
	if want := (Certificate{"ca.pem", "c.pem", "k.pem"}); err != nil || plan.Registries.Certificates["r:1"] != want {
		t.Errorf("%v, %v", plan, err)
	}
}

func TestKanikosDirectoryHasLoginsAndCertificates(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{".docker/config.json", "ssl/certs/ca.crt"} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"DOCKER_CONFIG=" + dir + "/.docker", "SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:" + dir + "/ssl/certs"}
	for what, tt := range map[string]struct {
		env   map[string]string
		words []string
		want  []string
	}{
		"flag":     {map[string]string{"KANIKO_DIR": "/nonexistent", "DOCKER_CONFIG": "/kaniko/.docker"}, []string{"--kaniko-dir=" + dir}, want},
		"variable": {map[string]string{"KANIKO_DIR": dir}, nil, want},
		"set":      {map[string]string{"KANIKO_DIR": "/nonexistent", "SSL_CERT_DIR": "/certs"}, nil, nil},
	} {
		plan, err := read(t, tt.env, append(tt.words, "--no-push")...)
		if err != nil || !slices.Equal(plan.Env, tt.want) {
			t.Errorf("%s: %v, %v", what, plan, err)
		}
	}
}

func TestDigestFiles(t *testing.T) {
	dir := t.TempDir()
	d := digest.FromString("image")
	files := DigestFiles{filepath.Join(dir, "new/digest"), filepath.Join(dir, "name"), filepath.Join(dir, "tagged"), filepath.Join(dir, "output")}
	if err := files.Write(d, []string{"app", "quay.io/a/b:v1"}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"new/digest":    d.String(),
		"name":          "index.docker.io/library/app@" + d.String() + "\nquay.io/a/b@" + d.String() + "\n",
		"tagged":        "index.docker.io/library/app:latest@" + d.String() + "\nquay.io/a/b:v1@" + d.String() + "\n",
		"output/images": `{"name":"app","digest":"` + d.String() + "\"}\n" + `{"name":"quay.io/a/b:v1","digest":"` + d.String() + "\"}\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

func TestPlacesAreLookedAtBeforeTheBuild(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flag, path string
		good       bool
	}{
		{"--digest-file", "a/b/digest", true},
		{"--digest-file", "digest", true},
		{"--digest-file", "file", true},
		{"--digest-file", "", false},
		{"--digest-file", "file/digest", false},
		{"--image-name-with-digest-file", "file/digest", false},
		{"--image-name-tag-with-digest-file", "file/digest", false},
		{"--tar-path", "x.tar", true},
		{"--tar-path", "none/x.tar", false},
		{"--oci-layout-path", "layout", true},
		{"--oci-layout-path", "none/layout", false},
		{"--oci-layout-path", "file/layout", false},
	} {
		path := filepath.Join(dir, tt.path)
		plan, err := read(t, nil, "--no-push", "--destination=a", tt.flag+"="+path)
		if err != nil {
			t.Fatal(err)
		}
		err = plan.CheckPlaces()
		if (err == nil) != tt.good || err != nil && !strings.HasPrefix(err.Error(), tt.flag+" "+path+": ") {
			t.Errorf("%s %s: %v", tt.flag, tt.path, err)
		}
	}
	if err := (&Plan{Files: DigestFiles{Output: file}}).CheckPlaces(); err == nil || !strings.HasPrefix(err.Error(), "BUILDER_OUTPUT ") {
		t.Error(err)
	}
}
