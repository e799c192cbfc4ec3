package layout

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
)

var someNames = []string{
	"nginx", "nginx:v2", "a/b/c:d", "localhost:5000/team/app:latest", "quay.io/a__b/c-d.e---f:V_1.2-3", "127.0.0.1:1/x",
	"nginx@sha256:0123456789012345678901234567890123456789012345678901234567890123", "Host/app", "localhost/a", "index.docker.io/a",
	"", ":", "a:", "@", "a@", "a@sha256:00", "Nginx", "a..b", "a.-b", "a___b", "-a", "a-", "a/", "/a", "a//b", "a b", "a:-b", "a:.b", "a:b:c", "a:b/c",
	"UPPER/Case", "a.b:x/c", "a.b:/c", "-a.b/c", "a-.b/c", ".a/b", "a./b", "v1+build", "\x1b[2J", "ünï", "a\n", "docker.io/a", "library/a",
	strings.Repeat("0", 64), strings.Repeat("a", 300), "a:" + strings.Repeat("a", 128), "a:" + strings.Repeat("a", 129), "[::1]:5/a",
}

func TestNamesOfOtherToolsAreThoseThatDockerTakes(t *testing.T) {
	for _, ref := range someNames {
		_, err := reference.ParseNormalizedNamed(ref)
		if got, want := isName(ref), err == nil && !strings.HasPrefix(ref, "["); got != want {
			t.Errorf("%q: %v, not %v (%v)", ref, got, want, err)
		}
	}
}

// FuzzName holds isName to the library's grammar: what is shown as a name must be
// one.
func FuzzName(f *testing.F) {
	for _, ref := range someNames {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if !isName(ref) {
			return
		}
		if _, err := reference.ParseNormalizedNamed(ref); err != nil {
			t.Errorf("%q: %v", ref, err)
		}
		if _, err := reference.ParseNormalizedNamed(canonicalName(ref)); err != nil {
			t.Errorf("%q is %q: %v", ref, canonicalName(ref), err)
		}
	})
}
