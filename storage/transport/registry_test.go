package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

var ctx = context.Background()

func TestADigestSurvivesPushAndPull(t *testing.T) {
	addr := registry(t)
	for _, format := range []layout.Format{layout.FormatOCI, layout.FormatDocker} {
		t.Run(string(format), func(t *testing.T) {
			from, to := newOptions(t), newOptions(t)
			name := addr + "/team/" + string(format) + ":v1"
			img := makeImage(t, from.Layout, []string{"app"}, format, "amd64", "one", "two", "one")
			pushed, err := transport.Push(ctx, img, name, from)
			must(t, err)
			if pushed.Digest != img.Manifest.Digest || digestIn(t, "docker://"+name) != pushed.Digest.String() {
				t.Errorf("pushed %s as %s", img.Manifest.Digest, pushed.Digest)
			}
			events := map[transport.EventKind]int{}
			to.Report = func(e transport.Event) { events[e.Kind]++ }
			got, err := transport.Pull(ctx, "docker://"+name, to)
			must(t, err)
			if got.Name != name || got.ID != img.ID || got.Manifest.Digest != img.Manifest.Digest || got.Index != nil {
				t.Errorf("pulled %+v", got)
			}
			if events[transport.Queued] != 2 || events[transport.Started] != 2 || events[transport.Done] != 2 || events[transport.Exists] != 0 {
				t.Errorf("events of the first pull: %v", events)
			}
			clear(events)
			_, err = transport.Pull(ctx, name, to)
			must(t, err)
			if len(events) != 0 { // docker tells nothing of the layers of an image that it has
				t.Errorf("events of the second pull: %v", events)
			}
			if again, err := transport.Pull(ctx, addr+"/team/"+string(format)+"@"+pushed.Digest.String(), to); err != nil || again.ID != img.ID {
				t.Errorf("pull by digest: %+v, %v", again, err)
			}
		})
	}
}

func TestPullTakesOnePlatformAndKeepsTheIndex(t *testing.T) {
	addr := registry(t)
	from, to := newOptions(t), newOptions(t)
	amd := makeImage(t, from.Layout, nil, layout.FormatOCI, "amd64", "one")
	arm := makeImage(t, from.Layout, nil, layout.FormatOCI, "arm64", "two")
	index := pushIndex(t, from, addr+"/multi:v1", amd, arm)

	for p, want := range map[string]layout.Image{"linux/amd64": amd, "linux/arm64": arm} {
		to.Platform = p
		got, err := transport.Pull(ctx, addr+"/multi:v1", to)
		if err != nil || got.ID != want.ID || got.Manifest.Digest != want.Manifest.Digest || got.Index == nil || got.Index.Digest.String() != index {
			t.Errorf("%s: %+v, %v", p, got, err)
		}
	}
	to.Platform = "linux/s390x"
	_, err := transport.Pull(ctx, addr+"/multi:v1", to)
	if !errors.Is(err, layout.ErrUnknown) || !strings.Contains(fault.Remedy(err), "linux/amd64, linux/arm64") {
		t.Errorf("a platform that isn't there: %v, remedy %q", err, fault.Remedy(err))
	}
	img, err := to.Layout.Find(addr + "/multi@" + index)
	if err != nil || img.ID == "" {
		t.Errorf("by the index's digest: %v", err)
	}
}

func TestABaseOfAnotherPlatformLeavesTheNameAlone(t *testing.T) {
	addr := registry(t)
	from, to := newOptions(t), newOptions(t)
	name, here, other := addr+"/multi:v1", platform.Here(), anotherPlatform(t)
	own := makeImage(t, from.Layout, nil, layout.FormatOCI, here.Architecture, "one")
	foreign := makeImage(t, from.Layout, nil, layout.FormatOCI, other.Architecture, "two")
	pushIndex(t, from, name, own, foreign)

	to.Base, to.Platform = true, platform.Name(other)
	got, err := transport.Pull(ctx, name, to)
	must(t, err)
	if got.ID != foreign.ID || got.Name != "" {
		t.Errorf("pulled %+v", got)
	}
	if _, err := to.Layout.Find(name); !errors.Is(err, layout.ErrUnknown) {
		t.Errorf("the name means something now: %v", err)
	}
	to.Platform = ""
	got, err = transport.Pull(ctx, name, to)
	must(t, err)
	if got.ID != own.ID || got.Name != name {
		t.Errorf("pulled for this machine %+v", got)
	}
	for want, id := range map[string]digest.Digest{platform.Name(here): own.ID, platform.Name(other): foreign.ID} {
		p, err := platform.Parse(want)
		must(t, err)
		if img, err := to.Layout.FindFor(name, p); err != nil || img.ID != id {
			t.Errorf("found for %s: %+v, %v", want, img, err)
		}
	}

	// The name moves on, and the base with it when it is pulled again; what was
	// one before is left without name.
	newer := makeImage(t, from.Layout, nil, layout.FormatOCI, other.Architecture, "three")
	pushIndex(t, from, name, own, newer)
	to.Platform = platform.Name(other)
	got, err = transport.Pull(ctx, name, to)
	must(t, err)
	found, err := to.Layout.FindFor(name, other)
	must(t, err)
	if got.ID != newer.ID || found.ID != newer.ID {
		t.Errorf("pulled %s, found %s; want %s", got.ID, found.ID, newer.ID)
	}
	images, err := to.Layout.List()
	must(t, err)
	if len(images) != 3 {
		t.Errorf("%d images: %+v", len(images), images)
	}
}

func TestAnImageOfOnePlatformIsRefusedForAnother(t *testing.T) {
	addr := registry(t)
	from, to := newOptions(t), newOptions(t)
	name, other := addr+"/single:v1", anotherPlatform(t)
	img := makeImage(t, from.Layout, nil, layout.FormatOCI, other.Architecture, "one")
	_, err := transport.Push(ctx, img, name, from)
	must(t, err)

	to.Platform = platform.Name(platform.Here())
	_, err = transport.Pull(ctx, name, to)
	if !errors.Is(err, layout.ErrUnknown) || !strings.Contains(err.Error(), "only for "+platform.Name(other)) {
		t.Errorf("asked for this machine's: %v", err)
	}
	// Where nobody has asked it is taken, as docker does.
	to.Platform, to.Base = "", true
	if got, err := transport.Pull(ctx, name, to); err != nil || got.ID != img.ID || got.Name != name {
		t.Errorf("asked for nothing: %+v, %v", got, err)
	}
	if got, err := to.Layout.FindFor(name, platform.Here()); !errors.Is(err, layout.ErrPlatform) || got.ID != img.ID {
		t.Errorf("found for this machine: %+v, %v", got, err)
	}
}

// anotherPlatform is one that this machine isn't.
func anotherPlatform(t *testing.T) v1.Platform {
	t.Helper()
	p, err := platform.Parse("linux/riscv64")
	must(t, err)
	if platform.IsHere(p) {
		p.Architecture = "s390x"
	}
	return p
}

// pushIndex pushes a multi-platform image by skopeo and gives its digest.
func pushIndex(t *testing.T, o transport.Options, name string, images ...layout.Image) string {
	t.Helper()
	index := v1.Index{MediaType: v1.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, img := range images {
		config, err := o.Layout.Config(img)
		must(t, err)
		p := config.Platform()
		d := img.Manifest
		d.Platform = &p
		index.Manifests = append(index.Manifests, d)
	}
	data, err := json.Marshal(index)
	must(t, err)
	multi, err := o.Layout.PutBytes(ctx, data)
	must(t, err)
	multi.MediaType = v1.MediaTypeImageIndex
	must(t, o.Layout.Commit(ctx, []string{"multi"}, images[0].Manifest, &multi))
	run(t, "skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", "oci:"+o.Layout.Dir()+":multi:latest", "docker://"+name)
	return multi.Digest.String()
}

func TestPullMendsWhatIsDamaged(t *testing.T) {
	addr := registry(t)
	o := newOptions(t)
	name := addr + "/app:v1"
	img := makeImage(t, o.Layout, []string{name}, layout.FormatOCI, "amd64", "one", "two")
	_, err := transport.Push(ctx, img, name, o)
	must(t, err)
	m, err := o.Layout.Manifest(img)
	must(t, err)
	for what, d := range map[string]v1.Descriptor{"manifest": img.Manifest, "config": m.Config, "layer": m.Layers[1]} {
		must(t, os.Truncate(o.Layout.BlobPath(d.Digest), d.Size/2))
		if _, err := transport.Pull(ctx, name, o); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := o.Layout.ReadBlob(d.Digest); err != nil {
			t.Errorf("%s is still damaged: %v", what, err)
		}
	}
}

func TestRegistryErrorsSayWhatToDo(t *testing.T) {
	// The registry keeps passwords by bcrypt.
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	must(t, os.WriteFile(passwords, []byte("secret:"+bcryptOfSecret+"\n"), 0o600))
	open := registry(t)
	closed := registry(t, "auth: {htpasswd: {realm: test, path: "+passwords+"}}")
	verify := true
	tests := map[string]struct {
		name    string
		options transport.Options
		cause   string
		remedy  string
	}{
		"unknown repository": {name: open + "/nothing:v1", cause: "no such image: " + open + "/nothing:v1", remedy: "skopeo list-tags docker://" + open + "/nothing"},
		"unreachable":        {name: "127.0.0.1:1/app", cause: "can't be reached: dial tcp 127.0.0.1:1", remedy: "check the network"},
		"unknown host":       {name: "registry.invalid/app", cause: "registry.invalid can't be reached", remedy: "check the network"},
		"needs a login":      {name: closed + "/app", cause: "denied", remedy: "builder login " + closed},
		"wrong password":     {name: closed + "/app", options: transport.Options{Creds: "secret:wrong"}, cause: "denied", remedy: "log in"},
		"no TLS":             {name: open + "/app", options: transport.Options{TLSVerify: &verify}, cause: "doesn't prove itself", remedy: "--tls-verify=false"},
		"no auth file":       {name: open + "/app", options: transport.Options{AuthFile: "/nonexistent"}, cause: "/nonexistent", remedy: "name an existing file"},
		"bad name":           {name: "Not/Valid", cause: "invalid image name", remedy: "a name looks like"},
		"bad platform":       {name: open + "/app", options: transport.Options{Platform: "linux/"}, cause: "bad platform", remedy: "linux/arm64"},
		"scratch":            {name: "scratch", cause: "nothing to pull", remedy: "FROM"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			o := newOptions(t)
			tt.options.Layout, tt.options.Session, tt.options.TempDir = o.Layout, o.Session, o.TempDir
			_, err := transport.Pull(ctx, tt.name, tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.cause) || !strings.Contains(fault.Remedy(err), tt.remedy) {
				t.Errorf("error %v\nremedy %q\nwant %q and %q", err, fault.Remedy(err), tt.cause, tt.remedy)
			}
		})
	}
	t.Run("right password", func(t *testing.T) {
		o := newOptions(t)
		img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one")
		_, err := transport.Push(ctx, img, closed+"/app", o)
		if err == nil || !strings.Contains(fault.Remedy(err), "log in") {
			t.Errorf("without: %v, remedy %q", err, fault.Remedy(err))
		}
		auth := filepath.Join(t.TempDir(), "auth.json")
		must(t, os.WriteFile(auth, []byte(`{"auths":{"`+closed+`":{"auth":"c2VjcmV0OnNlY3JldA=="}}}`), 0o600))
		t.Setenv("REGISTRY_AUTH_FILE", auth)
		_, err = transport.Push(ctx, img, closed+"/app", o)
		must(t, err)
		t.Setenv("REGISTRY_AUTH_FILE", "")
		o.Creds = "secret:secret"
		_, err = transport.Pull(ctx, closed+"/app", o)
		must(t, err)
	})
}

// bcryptOfSecret is how a htpasswd file has the password "secret".
const bcryptOfSecret = "$2b$12$/7pUAexsY2FwElpm/49EMe7yZth084YB7id2BykjCfIavncGSGcS."

func TestAPolicyIsObeyed(t *testing.T) {
	addr := registry(t)
	o := newOptions(t)
	img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one")
	home := t.TempDir()
	t.Setenv("HOME", home)
	must(t, os.MkdirAll(filepath.Join(home, ".config/containers"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, ".config/containers/policy.json"), []byte(`{"default":[{"type":"reject"}]}`), 0o600))
	_, err := transport.Push(ctx, img, addr+"/app", o)
	must(t, err)
	_, err = transport.Pull(ctx, addr+"/app", o)
	if err == nil || !strings.Contains(err.Error(), "not allowed by policy") || !strings.Contains(fault.Remedy(err), home) {
		t.Errorf("Pull: %v, remedy %q", err, fault.Remedy(err))
	}
}

// flaky passes requests on to a registry and spoils the first answer to each
// path that ends in a digest.
func flaky(t *testing.T, addr string, spoil func(http.ResponseWriter, *http.Request, http.Handler)) string {
	t.Helper()
	target, err := url.Parse("http://" + addr)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := !seen[r.URL.Path] && strings.Contains(r.URL.Path, "/blobs/sha256:")
		seen[r.URL.Path] = true
		mu.Unlock()
		if first {
			spoil(w, r, proxy)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestPullTriesAgain(t *testing.T) {
	addr := registry(t)
	from := newOptions(t)
	img := makeImage(t, from.Layout, nil, layout.FormatOCI, "amd64", strings.Repeat("one", 1000), "two")
	_, err := transport.Push(ctx, img, addr+"/app", from)
	must(t, err)
	for what, spoil := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"unavailable": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"cut off": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			w.Header().Set("Content-Length", recorder.Header().Get("Content-Length"))
			_, _ = io.CopyN(w, recorder.Body, 10)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(what, func(t *testing.T) {
			o := newOptions(t)
			got, err := transport.Pull(ctx, flaky(t, addr, spoil)+"/app", o)
			if err != nil || got.ID != img.ID {
				t.Errorf("Pull: %v, %v", got.ID, err)
			}
		})
	}
	t.Run("wrong content", func(t *testing.T) {
		o := newOptions(t)
		_, err := transport.Pull(ctx, flaky(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			_, _ = w.Write(bytes.ToUpper(recorder.Body.Bytes()))
		})+"/app", o)
		if err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("Pull: %v", err)
		}
		if images, err := o.Layout.List(); err != nil || len(images) != 0 {
			t.Errorf("named all the same: %v, %v", images, err)
		}
	})
}

func TestPushToOtherPlaces(t *testing.T) {
	o := newOptions(t)
	dir := t.TempDir()
	for _, format := range []layout.Format{layout.FormatOCI, layout.FormatDocker} {
		img := makeImage(t, o.Layout, []string{"app"}, format, "amd64", "one", "two")
		for _, dest := range []string{"oci:" + dir + "/oci:app:v1", "dir:" + dir + "/dir", "oci-archive:" + dir + "/oci.tar:app:v1", "docker-archive:" + dir + "/docker.tar:app:v1"} {
			pushed, err := transport.Push(ctx, img, dest, o)
			if err != nil {
				t.Errorf("%s image to %s: %v", format, dest, err)
				continue
			}
			converted := format == layout.FormatDocker && strings.HasPrefix(dest, "oci:")
			if (pushed.Digest == img.Manifest.Digest) == converted {
				t.Errorf("%s image to %s: %s as %s", format, dest, img.Manifest.Digest, pushed.Digest)
			}
			found := digestIn(t, strings.TrimSuffix(dest, ":app:v1"))                          // the only image there
			if found != pushed.Digest.String() && !strings.HasPrefix(dest, "docker-archive") { // skopeo makes a manifest of its own there
				t.Errorf("%s: skopeo finds %s, not %s", dest, found, pushed.Digest)
			}
		}
		must(t, os.RemoveAll(dir+"/oci"))
	}
	img, err := o.Layout.Find("app")
	must(t, err)
	for _, dest := range []string{"oci:" + o.Layout.Dir() + ":x", "app@" + img.Manifest.Digest.String()} {
		if _, err := transport.Push(ctx, img, dest, o); err == nil || fault.Remedy(err) == "" {
			t.Errorf("%s: %v", dest, err)
		}
	}
}
