package tests

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/builder-oci/builder/tests/hostile"
)

// hostile [tls] [WORD...] starts a registry from memory on the loopback and puts
// its address into HOSTILE. It has the images app:v1 (LAYER1 and LAYER2, by their
// first 12 digits) and app:v2 (LAYER3 too), with the manifests DIGEST1 and DIGEST2.
// The words say what else it has, or does. It ends with the script.
func hostileRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: hostile [tls] [WORD...]")
	}
	start := hostile.New
	if len(args) > 0 && args[0] == "tls" {
		start, args = hostile.NewTLS, args[1:]
	}
	r := start()
	ts.Defer(r.Close)
	layers := []hostile.Layer{hostile.Files("base"), hostile.Files("app", noise(2<<20)), hostile.Files("more")}
	ts.Setenv("DIGEST1", r.Push("app:v1", layers[:2]...).String())
	ts.Setenv("DIGEST2", r.Push("app:v2", layers...).String())
	r.Push("library/short:latest", layers[2])
	for _, word := range args {
		do, known := hostility[word]
		if !known {
			ts.Fatalf("no hostility is called %q", word)
		}
		do(r, digest.FromBytes(layers[1].Blob).String())
	}
	ts.Setenv("HOSTILE", r.Address())
	for i, l := range layers {
		ts.Setenv("LAYER"+string('1'+rune(i)), digest.FromBytes(l.Blob).Encoded()[:12])
	}
}

// hostility is what registries do, by the words that scripts have for it. large
// is the digest of the largest layer of app:v1.
var hostility = map[string]func(r *hostile.Registry, large string){
	"cut": func(r *hostile.Registry, large string) { r.On(large, 1, hostile.CutOff(1<<20)) },
	"flaky": func(r *hostile.Registry, large string) {
		r.On(large, 1, hostile.Status(http.StatusServiceUnavailable, "UNAVAILABLE"))
	},
	"hurried": func(r *hostile.Registry, _ string) {
		r.On("/manifests/", 1, hostile.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "1"))
	},
	"corrupt": func(r *hostile.Registry, large string) { r.On(large, -1, hostile.Corrupt) },
	"down": func(r *hostile.Registry, _ string) {
		r.On("/manifests/", -1, hostile.Status(http.StatusNotFound, "MANIFEST_UNKNOWN"))
	},
	"other": func(r *hostile.Registry, _ string) {
		r.Alias("app", digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat("0123456789abcdef", 4)), "v1")
	},
	"lying": func(r *hostile.Registry, _ string) {
		l := hostile.Files("lie")
		l.DiffID = digest.FromString("the truth")
		r.Push("lying:v1", hostile.Files("base"), l)
	},
	"bomb": func(r *hostile.Registry, _ string) { r.Push("bomb:v1", hostile.Files("base"), hostile.Bomb(1<<44)) },
	"steering": func(r *hostile.Registry, _ string) {
		l := hostile.Files("content")
		l.MediaType = "text/\x1b[2Jhtml"
		r.Push("steering:v1", l)
	},
	"zstd": func(r *hostile.Registry, _ string) { r.Push("zstd:v1", hostile.Zstd("packed by zstd")) },
	"deep": func(r *hostile.Registry, _ string) {
		r.Push("deep:v1", slices.Repeat([]hostile.Layer{hostile.Files("content")}, 10_000)...)
	},
	"schema1": func(r *hostile.Registry, _ string) {
		r.PutManifest("old:v1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[],"history":[]}`))
	},
	"artifact": func(r *hostile.Registry, _ string) {
		r.PutImage("chart:v1", r.Put("application/vnd.cncf.helm.config.v1+json", []byte("{}")), r.Put(v1.MediaTypeImageLayerGzip, hostile.Files("chart").Blob))
	},
}

// noise is content that doesn't compress.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return string(b)
}
