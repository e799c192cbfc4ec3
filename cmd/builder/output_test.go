package main

import (
	"flag"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

func TestOutputsAreReadAsDockerReadsThem(t *testing.T) {
	for text, want := range map[string]outputSpec{
		"out":                               {kind: "local", attributes: map[string]string{"dest": "out"}},
		"a=b":                               {kind: "", attributes: nil},
		"-":                                 {kind: "tar", attributes: map[string]string{"dest": "-"}},
		"type=tar,dest=a.tar":               {kind: "tar", attributes: map[string]string{"dest": "a.tar"}},
		"type=image,\"name=a,b\",push=true": {kind: "image", attributes: map[string]string{"name": "a,b", "push": "true"}},
		"dest=a,type=oci":                   {kind: "oci", attributes: map[string]string{"dest": "a"}},
		"type=oci,dest":                     {kind: "", attributes: nil},
	} {
		got, err := parseOutput(text)
		if want.kind == "" {
			if err == nil && got.kind != "local" {
				t.Errorf("%s: %+v, no error", text, got)
			}
			continue
		}
		if err != nil || got.kind != want.kind || !maps.Equal(got.attributes, want.attributes) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// annotated reads --annotation flags.
func annotated(texts ...string) (build.Options, *outputs, error) {
	o, outs := build.Options{Annotations: map[string]string{}}, &outputs{descriptor: map[string]string{}}
	for _, text := range texts {
		if err := outs.annotateByFlag(&o, text); err != nil {
			return o, outs, err
		}
	}
	return o, outs, nil
}

func TestAnnotationsGoToTheirObjects(t *testing.T) {
	here := "linux/" + runtime.GOARCH
	o, outs, err := annotated("a=b", "manifest:c=d=e", "index.of=x:y", "org.example/url=http://x", "manifest["+here+"]:f=g",
		"manifest-descriptor:h=i", "manifest,manifest-descriptor:j=k")
	manifest := map[string]string{"a": "b", "c": "d=e", "index.of": "x:y", "org.example/url": "http://x", "f": "g", "j": "k"}
	if err != nil || !maps.Equal(o.Annotations, manifest) {
		t.Errorf("%v, %v", o.Annotations, err)
	}
	if want := map[string]string{"h": "i", "j": "k"}; !maps.Equal(outs.descriptor, want) {
		t.Errorf("descriptor: %v", outs.descriptor)
	}
	for text, want := range map[string]string{
		"a": "not NAME=VALUE", "=b": "not NAME=VALUE", "index:a=b": "a manifest without an index",
		"manifest,index:a=b": "a manifest without an index", "index-descriptor:a=b": "without an index",
		"manifest[linux/s390x]:a=b": "isn't for linux/s390x",
	} {
		if text == "manifest["+here+"]:a=b" {
			continue
		}
		if _, _, err := annotated(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestAttributesOfImages(t *testing.T) {
	for text, want := range map[string]string{
		"type=image,compression=zstd,compression-level=22":                        "",
		"type=image,compression=zstd,compression-level=23":                        "levels from 1 to 22",
		"type=image,compression=gzip,compression-level=0":                         "levels from 1 to 9",
		"type=image,compression=gzip,compression-level=x":                         "levels from 1 to 9",
		"type=image,compression=uncompressed,compression-level=1":                 "there is no compression",
		"type=image,compression=estargz":                                          "lazily",
		"type=image,compression=lzma":                                             "isn't known",
		"type=oci,dest=a,push=true":                                               "is a file, and has no push",
		"type=image,push=perhaps":                                                 "is neither",
		"type=image,unpack=true,name-canonical=true,store=true,oci-artifact=true": "",
		"type=image,store=false":                                                  "store first",
		"type=image,buildinfo=false":                                              "",
		"type=image,buildinfo=true":                                               "given it up",
		"type=image,prefer-nondist-layers=true":                                   "media type",
		"type=image,dangling-name-prefix=x":                                       "known by its id",
		"type=image,compressions=zstd":                                            "no attribute compressions",
		"type=image,annotation-manifest.a=b":                                      "",
		"type=image,annotation-index.a=b":                                         "without an index",
		"type=image,annotation-config.a=b":                                        `no "config" to annotate`,
		"type=docker,context=x":                                                   "speaks with no docker",
		"type=image,name=UPPER":                                                   "UPPER",
		"type=cacheonly,dest=a":                                                   "has no attributes",
		"type=local,dest=a,platform-split=true":                                   "one platform",
		"type=local,dest=a,platform-split=false":                                  "",
	} {
		_, err := readOutput(t, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// readOutput reads one --output as bud does.
func readOutput(t *testing.T, text string) (build.Options, error) {
	t.Helper()
	o := build.Options{Annotations: map[string]string{}, Format: layout.FormatOCI, Compression: layer.Gzip}
	outs := &outputs{descriptor: map[string]string{}, asked: map[string]string{}}
	s, err := parseOutput(text)
	if err != nil {
		return o, err
	}
	c := cli.NewContext(cli.NewApp(), flag.NewFlagSet("", flag.ContinueOnError), nil)
	_, err = outs.add(c, &o, s)
	return o, err
}

func TestAttestationsAreRefusedUnlessDisabled(t *testing.T) {
	for _, test := range []struct {
		flag, text string
		want       bool
	}{
		{"provenance", "false", true},
		{"provenance", "0", true},
		{"provenance", "mode=max", false},
		{"provenance", "true", false},
		{"provenance", "disabled=true", true},
		{"sbom", "false", true},
		{"sbom", "generator=x", false},
		{"attest", "type=provenance,disabled=true", true},
		{"attest", "type=provenance,disabled=false", false},
		{"attest", "type=provenance,mode=min", false},
		{"attest", "false", false},
	} {
		err := refuseAttestation(test.flag, test.text)
		if (err == nil) != test.want {
			t.Errorf("--%s %s: %v", test.flag, test.text, err)
		}
	}
}
