package main

import (
	"maps"
	"testing"
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

func TestAnnotationsAreTheManifests(t *testing.T) {
	got, err := annotations([]string{"a=b", "manifest:c=d=e", "index.of=x:y", "org.example/url=http://x"})
	want := map[string]string{"a": "b", "c": "d=e", "index.of": "x:y", "org.example/url": "http://x"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"a", "=b", "index:a=b", "manifest[linux/amd64]:a=b", "manifest-descriptor:a=b"} {
		if _, err := annotations([]string{bad}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
