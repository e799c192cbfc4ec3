package platform

import (
	"errors"
	"runtime"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

func TestPlatformsHaveOneSpelling(t *testing.T) {
	for text, want := range map[string]string{
		"linux/arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "Linux/AARCH64": "linux/arm64", "arm64": "linux/arm64",
		"linux/amd64/v1": "linux/amd64", "linux/x86_64": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3",
		"linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "linux/armhf": "linux/arm/v7", "linux/i386": "linux/386",
		"linux": "linux/" + runtime.GOARCH, "local": Name(Here()), "": Name(Here()),
	} {
		p, err := ParseLinux(text)
		if err != nil || Name(p) != want {
			t.Errorf("%q: %q, %v; want %q", text, Name(p), err, want)
		}
	}
}

func TestBadPlatformsAreRefusedWithARemedy(t *testing.T) {
	for _, text := range []string{"linux/", "/", "a/b/c/d", "linux/arm64/", "quark", "linux/amd46", "windows/amd64", "windows", "linux/*", "linux arm64"} {
		_, err := ParseLinux(text)
		var told *fault.Error
		if !errors.As(err, &told) || told.Remedy == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTheBestManifestIsChosen(t *testing.T) {
	var index []v1.Descriptor
	for _, p := range []string{"linux/386", "linux/arm/v5", "linux/arm64", "linux/arm/v7", "linux/amd64", "linux/arm/v6"} {
		parsed, err := Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		index = append(index, v1.Descriptor{MediaType: p, Platform: &parsed})
	}
	index = append(index, v1.Descriptor{MediaType: "attestation", Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}})
	for want, chosen := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/386": "linux/386", "linux/amd64/v2": "linux/amd64", "linux/arm64": "linux/arm64",
		"linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "linux/s390x": "",
	} {
		p, err := Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		best, found := Choose(index, p)
		if found != (chosen != "") || best.MediaType != chosen {
			t.Errorf("for %s: %q", want, best.MediaType)
		}
	}
	silent := append(index, v1.Descriptor{MediaType: "silent"})
	for want, chosen := range map[string]string{"s390x": "silent", "arm64": "linux/arm64"} {
		p, _ := Parse(want)
		if best, found := Choose(silent, p); !found || best.MediaType != chosen {
			t.Errorf("with one that says nothing, for %s: %q", want, best.MediaType)
		}
	}
}
