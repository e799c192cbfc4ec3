package transport

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestLayoutReferences(t *testing.T) {
	d := digest.FromString("x")
	for ref, want := range map[string][3]string{
		"dir":                       {"dir", "", ""},
		"a/dir:v1":                  {"a/dir", "v1", ""},
		"a:b/dir":                   {"a:b/dir", "", ""},
		"dir@" + d.String():         {"dir", "", d.String()},
		"dir@sha256:0123":           {"dir@sha256", "0123", ""},
		"/me@home/dir:v1":           {"/me@home/dir", "v1", ""},
		"/me@home/dir@" + string(d): {"/me@home/dir", "", d.String()},
	} {
		dir, tag, digest := splitLayoutRef(ref)
		if got := [3]string{dir, tag, digest.String()}; got != want {
			t.Errorf("%s: %s", ref, strings.Join(got[:], " "))
		}
	}
}
