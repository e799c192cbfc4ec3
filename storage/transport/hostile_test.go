package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
	"github.com/builder-oci/builder/tests/hostile"
)

// impatient is how long the tests let a registry be silent.
const impatient = 300 * time.Millisecond

func hostileRegistry(t *testing.T) *hostile.Registry {
	t.Helper()
	r := hostile.New()
	t.Cleanup(r.Close)
	return r
}

// noise is content that doesn't compress.
func noise(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	f, err := os.Open("/dev/urandom")
	must(t, err)
	defer f.Close()
	_, err = f.Read(b)
	must(t, err)
	return string(b)
}

// Each of these is refused with a word on why, and nothing of it is kept.
func TestBadImagesAreRefused(t *testing.T) {
	good := hostile.Files("content")
	lying := func(change func(*hostile.Layer)) hostile.Layer {
		l := hostile.Files("other content")
		change(&l)
		return l
	}
	otherDigest := digest.FromString("something else")
	for what, tt := range map[string]struct {
		layers []hostile.Layer
		spoil  func(r *hostile.Registry)
		want   string
	}{
		"a digest that differs":    {[]hostile.Layer{good, lying(func(l *hostile.Layer) { l.Digest = otherDigest })}, nil, "its content has the digest sha256:"},
		"a size that is too small": {[]hostile.Layer{good, lying(func(l *hostile.Layer) { l.Size = 10 })}, nil, "more bytes instead of the 10"},
		"a size that is too large": {[]hostile.Layer{good, lying(func(l *hostile.Layer) { l.Size = 1 << 28 })}, nil, "instead of the 268435456"},
		"a size below zero":        {[]hostile.Layer{lying(func(l *hostile.Layer) { l.Size = -5 })}, nil, "layer 1 of 1: -5 bytes are no size"},
		"a type that is no layer":  {[]hostile.Layer{lying(func(l *hostile.Layer) { l.MediaType = "text/html" })}, nil, `the type "text/html" isn't a layer's`},
		"a digest that is none":    {[]hostile.Layer{lying(func(l *hostile.Layer) { l.Digest = "sha256:../../etc/passwd" })}, nil, `"sha256:../../etc/passwd" is no digest`},
		"steering characters":      {[]hostile.Layer{lying(func(l *hostile.Layer) { l.Digest = "sha256:\x1b[2J" })}, nil, `"sha256:\x1b[2J" is no digest`},
		"too many layers":          {slices.Repeat([]hostile.Layer{good}, 10_000), nil, "10000 layers are more than any machine can stack"},
		"corrupted":                {[]hostile.Layer{good}, func(r *hostile.Registry) { r.On("/blobs/"+digest.FromBytes(good.Blob).String(), -1, hostile.Corrupt) }, "its content has the digest"},
		"a byte short":             {[]hostile.Layer{good}, func(r *hostile.Registry) { r.On("/blobs/"+digest.FromBytes(good.Blob).String(), -1, hostile.Short) }, "bytes instead of the"},
		"endless":                  {[]hostile.Layer{good}, func(r *hostile.Registry) { r.On("/blobs/"+digest.FromBytes(good.Blob).String(), -1, hostile.Endless) }, "more bytes instead of"},
		"an endless manifest":      {[]hostile.Layer{good}, func(r *hostile.Registry) { r.On("/manifests/", -1, hostile.Endless) }, "a manifest of more than 4 MiB"},
		"no layer of that name": {[]hostile.Layer{good}, func(r *hostile.Registry) {
			r.On("/blobs/"+digest.FromBytes(good.Blob).String(), -1, hostile.Status(404, "BLOB_UNKNOWN"))
		}, "the registry doesn't have it"},
		"one layer of two sizes": {[]hostile.Layer{lying(func(l *hostile.Layer) { l.Size = 10 }), lying(func(*hostile.Layer) {})}, nil, "layer 2 of 2: it has"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, o := hostileRegistry(t), newOptions(t)
			r.Push("app:v1", tt.layers...)
			if tt.spoil != nil {
				tt.spoil(r)
			}
			refused(t, r.Address()+"/app:v1", o, tt.want)
		})
	}
}

// refused pulls an image that mustn't come, and nothing of it be kept.
func refused(t *testing.T, name string, o transport.Options, want string) {
	t.Helper()
	_, err := transport.Pull(ctx, name, o)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) || fault.Remedy(err) == "" {
		t.Errorf("Pull: %v, remedy %q; want %q", err, fault.Remedy(err), want)
	}
	nothingIsKept(t, o.Layout)
}

// nothingIsKept says that there is no image, and no blob that isn't to go.
func nothingIsKept(t *testing.T, l *layout.Layout) {
	t.Helper()
	images, err := l.List()
	must(t, err)
	if len(images) > 0 {
		t.Errorf("images: %v", images)
	}
	blobs, err := os.ReadDir(filepath.Join(l.BlobsDir(), "sha256"))
	must(t, err)
	free := noted(t, l)
	for _, b := range blobs {
		if !slices.Contains(free, "sha256:"+b.Name()) {
			t.Errorf("kept: %s", b.Name())
		}
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	good := hostile.Files("content")
	for what, tt := range map[string]struct {
		config func(r *hostile.Registry) v1.Descriptor
		want   string
	}{
		"of 100 MB": {func(r *hostile.Registry) v1.Descriptor {
			return r.Put(v1.MediaTypeImageConfig, bytes.Repeat([]byte(" "), 100<<20))
		}, "a config of 104857600 bytes"},
		"of 100 MB, called small": {func(r *hostile.Registry) v1.Descriptor {
			d := r.Put(v1.MediaTypeImageConfig, bytes.Repeat([]byte(" "), 100<<20))
			d.Size = 1000
			return d
		}, "more bytes instead of the 1000"},
		"that is none": {func(r *hostile.Registry) v1.Descriptor { return r.Put(v1.MediaTypeImageConfig, []byte("{")) }, "config sha256:"},
		"of an artifact": {func(r *hostile.Registry) v1.Descriptor {
			return r.Put("application/vnd.cncf.helm.config.v1+json", []byte("{}"))
		}, "not an image but an artifact"},
		"without its diffIDs": {func(r *hostile.Registry) v1.Descriptor {
			return r.Put(v1.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"`+runtime.GOARCH+`"}`))
		}, "config"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, o := hostileRegistry(t), newOptions(t)
			layer := r.Put(v1.MediaTypeImageLayerGzip, good.Blob)
			r.PutImage("app:v1", tt.config(r), layer)
			_, err := transport.Pull(ctx, r.Address()+"/app:v1", o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Pull: %v, want %q", err, tt.want)
			}
			nothingIsKept(t, o.Layout)
		})
	}
}

func TestWhatIsNoManifestIsRefused(t *testing.T) {
	for what, tt := range map[string]struct{ mediaType, content, want, remedy string }{
		"schema 1": {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"name":"app","tag":"v1","architecture":"amd64","fsLayers":[],"history":[]}`, "docker's schema 1", "skopeo copy"},
		"a page":   {"text/html", "<html>hello</html>", "unknown type", "check the name"},
		"no JSON":  {v1.MediaTypeImageManifest, "{", "manifest: ", "push it again"},
	} {
		t.Run(what, func(t *testing.T) {
			r, o := hostileRegistry(t), newOptions(t)
			r.PutManifest("app:v1", tt.mediaType, []byte(tt.content))
			_, err := transport.Pull(ctx, r.Address()+"/app:v1", o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(fault.Remedy(err), tt.remedy) {
				t.Errorf("Pull: %v, remedy %q", err, fault.Remedy(err))
			}
			nothingIsKept(t, o.Layout)
		})
	}
}

// S02: name@digest is verified.
func TestAManifestOfAnotherDigestIsRefused(t *testing.T) {
	r, o := hostileRegistry(t), newOptions(t)
	r.Push("app:v1", hostile.Files("content"))
	wanted := digest.FromString("another manifest")
	r.Alias("app", wanted, "v1")
	_, err := transport.Pull(ctx, r.Address()+"/app@"+wanted.String(), o)
	if err == nil || !strings.Contains(err.Error(), wanted.String()) || !strings.Contains(err.Error(), "digest") || fault.Remedy(err) == "" {
		t.Errorf("Pull: %v, remedy %q", err, fault.Remedy(err))
	}
	nothingIsKept(t, o.Layout)
}

// What a registry does for a moment is borne, with a word on it.
func TestATransferGoesOnWhereItBroke(t *testing.T) {
	layer := hostile.Files(noise(t, 3<<20))
	blob := digest.FromBytes(layer.Blob)
	for what, tt := range map[string]struct {
		spoil func(r *hostile.Registry)
		told  string
		parts int // requests for a part
	}{
		"cut off once": {func(r *hostile.Registry) { r.On(blob.String(), 1, hostile.CutOff(1<<20)) }, "", 1},
		"cut off and away": {func(r *hostile.Registry) {
			r.On(blob.String(), 1, hostile.CutOff(2<<20))
			r.On(blob.String(), 2, hostile.Status(503, "UNAVAILABLE"))
		}, "503", 3},
		"stalled": {func(r *hostile.Registry) { r.On(blob.String(), 1, r.Stall(1<<20)) }, "no answer for " + impatient.String(), 1},
		"without ranges": {func(r *hostile.Registry) {
			r.On(blob.String(), 1, r.Stall(1<<20))
			r.On(blob.String(), -1, hostile.Whole)
		}, "no answer", 1},
		"refused at first":      {func(r *hostile.Registry) { r.On(blob.String(), 2, hostile.Status(500, "UNKNOWN")) }, "500", 0},
		"a manifest that fails": {func(r *hostile.Registry) { r.On("/manifests/", 2, hostile.Status(502, "UNKNOWN")) }, "502", 0},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, o := hostileRegistry(t), newOptions(t)
			o.Patience = impatient
			r.Push("app:v1", layer)
			tt.spoil(r)
			var told []string
			o.Report = func(e transport.Event) {
				if e.Kind == transport.Retrying {
					told = append(told, e.Err.Error())
				}
			}
			if _, err := transport.Pull(ctx, r.Address()+"/app:v1", o); err != nil {
				t.Fatal(err)
			}
			if tt.told != "" && (len(told) == 0 || !strings.Contains(strings.Join(told, "\n"), tt.told)) {
				t.Errorf("told: %q", told)
			}
			parts := 0
			for _, q := range r.Requests(blob.String()) {
				if q.Range != "" {
					parts++
				}
			}
			if parts != tt.parts {
				t.Errorf("%d requests for a part, not %d: %v", parts, tt.parts, r.Requests(blob.String()))
			}
		})
	}
}

// What goes on for ever is given up, in a time that is bounded.
func TestRegistriesAreGivenUp(t *testing.T) {
	layer := hostile.Files(noise(t, 1<<20))
	blob := digest.FromBytes(layer.Blob).String()
	for what, tt := range map[string]struct {
		part string
		do   func(r *hostile.Registry) hostile.Fault
		want string
	}{
		"silence":               {"/v2/", func(r *hostile.Registry) hostile.Fault { return r.Hang() }, "is silent: no answer for"},
		"a silent manifest":     {"/manifests/", func(r *hostile.Registry) hostile.Fault { return r.Hang() }, "is silent: no answer for"},
		"a silent layer":        {blob, func(r *hostile.Registry) hostile.Fault { return r.Hang() }, "is silent"},
		"a stalled layer":       {blob, func(r *hostile.Registry) hostile.Fault { return r.Stall(1000) }, "is silent"},
		"a slow manifest":       {"/manifests/", func(r *hostile.Registry) hostile.Fault { return r.Drip(20 * time.Millisecond) }, "is silent"},
		"a slow layer":          {blob, func(r *hostile.Registry) hostile.Fault { return r.Drip(time.Millisecond) }, "is silent"},
		"circles":               {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Circle }, "redirects in circles"},
		"circles for a layer":   {blob, func(*hostile.Registry) hostile.Fault { return hostile.Circle }, "redirects in circles"},
		"forbidden":             {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Status(403, "DENIED") }, "denied"},
		"unauthorized":          {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Status(401, "UNAUTHORIZED") }, "denied"},
		"not found":             {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Status(404, "MANIFEST_UNKNOWN") }, "no such image"},
		"not found, in a page":  {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Page(404) }, "no such image"},
		"forbidden, in a page":  {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Page(403) }, "denied"},
		"always failing":        {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.Status(500, "UNKNOWN") }, "fails"},
		"a layer always cut":    {blob, func(*hostile.Registry) hostile.Fault { return hostile.CutOff(1000) }, "broke"},
		"a manifest always cut": {"/manifests/", func(*hostile.Registry) hostile.Fault { return hostile.CutOff(20) }, "broke"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, o := hostileRegistry(t), newOptions(t)
			o.Patience = impatient
			r.Push("app:v1", layer)
			r.On(tt.part, -1, tt.do(r))
			begun := time.Now()
			_, err := transport.Pull(ctx, r.Address()+"/app:v1", o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Remedy(err) == "" {
				t.Errorf("Pull: %v, remedy %q; want %q", err, fault.Remedy(err), tt.want)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if images, err := o.Layout.List(); err != nil || len(images) > 0 {
				t.Errorf("images: %v, %v", images, err)
			}
		})
	}
}

func TestTagsThatAreNoneAreRefused(t *testing.T) {
	r, o := hostileRegistry(t), newOptions(t)
	r.Push("app:v1", hostile.Files("content"))
	tags, err := transport.Tags(ctx, r.Address()+"/app", o)
	if err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("%q, %v", tags, err)
	}
	r.PutManifest("app:../\x1b[2J", v1.MediaTypeImageManifest, []byte("{}"))
	_, err = transport.Tags(ctx, r.Address()+"/app", o)
	if err == nil || !strings.Contains(err.Error(), `invalid tag "../\x1b[2J"`) || fault.Remedy(err) == "" {
		t.Errorf("%v; remedy %q", err, fault.Remedy(err))
	}
}

// An error about a repository's tags names no tag.
func TestTagsThatCantBeHad(t *testing.T) {
	r, o := hostileRegistry(t), newOptions(t)
	r.Push("app:v1", hostile.Files("content"))
	r.On("/app/tags/list", -1, hostile.Page(http.StatusOK))
	r.On("/endless/tags/list", -1, hostile.EndlessTags)
	for repository, want := range map[string]string{"app": "isn't a registry", "missing": "doesn't have it", "endless": "has no end"} {
		_, err := transport.Tags(ctx, r.Address()+"/"+repository, o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "latest") || fault.Remedy(err) == "" {
			t.Errorf("%s: %v; remedy %q", repository, err, fault.Remedy(err))
		}
	}
}

func TestTooManyRequestsAreWaitedFor(t *testing.T) {
	r, o := hostileRegistry(t), newOptions(t)
	r.Push("app:v1", hostile.Files("content"))
	r.On("/manifests/", 1, hostile.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "1"))
	begun := time.Now()
	if _, err := transport.Pull(ctx, r.Address()+"/app:v1", o); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("asked again after %s", took)
	}
}

func TestTooManyRequestsNameAMirror(t *testing.T) {
	r, o := hostileRegistry(t), newOptions(t)
	r.Push("app:v1", hostile.Files("content"))
	r.On("/manifests/", -1, hostile.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "0"))
	_, err := transport.Pull(ctx, r.Address()+"/app:v1", o)
	if err == nil || !strings.Contains(err.Error(), "too many requests") {
		t.Fatalf("got %v", err)
	}
	for _, line := range []string{"builder login", "registries.conf", "[[registry]]", fmt.Sprintf("location = %q", r.Address()), "[[registry.mirror]]"} {
		if !strings.Contains(fault.Remedy(err), line) {
			t.Errorf("the remedy lacks %q:\n%s", line, fault.Remedy(err))
		}
	}
	if asked := len(r.Requests("/manifests/")); asked < 5 {
		t.Errorf("asked %d times", asked)
	}
}

// A registry that gives something else when a transfer goes on spoils nothing.
func TestPartsThatDontBelongTogetherAreFetchedAnew(t *testing.T) {
	layer := hostile.Files(noise(t, 3<<20))
	blob := digest.FromBytes(layer.Blob).String()
	r, o := hostileRegistry(t), newOptions(t)
	o.Patience = impatient
	r.Push("app:v1", layer)
	r.On(blob, 1, r.Stall(1<<20))
	r.On(blob, 1, hostile.Part(2<<20))
	img, err := transport.Pull(ctx, r.Address()+"/app:v1", o)
	must(t, err)
	if !errors.Is(checkBlobs(o.Layout, img), nil) {
		t.Error("the layer is damaged")
	}
}

// checkBlobs reads all layers of an image against their digests.
func checkBlobs(l *layout.Layout, img layout.Image) error {
	m, err := l.Manifest(img)
	if err != nil {
		return err
	}
	for _, d := range m.Layers {
		data, err := os.ReadFile(l.BlobPath(d.Digest))
		if err != nil || digest.FromBytes(data) != d.Digest {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
	}
	return nil
}
