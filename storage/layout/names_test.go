package layout_test

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/layout"
)

const someDigest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"

func TestNamesAreDockers(t *testing.T) {
	tests := []struct{ in, canonical, familiar string }{
		{"nginx", "docker.io/library/nginx:latest", "nginx:latest"},
		{"nginx:v2", "docker.io/library/nginx:v2", "nginx:v2"},
		{"team/app", "docker.io/team/app:latest", "team/app:latest"},
		{"docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
		{"index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
		{"library/nginx:1", "docker.io/library/nginx:1", "nginx:1"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest"},
		{"localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"},
		{"[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"},
		{"quay.io/a/b/c:d", "quay.io/a/b/c:d", "quay.io/a/b/c:d"},
		{"nginx@" + someDigest, "docker.io/library/nginx@" + someDigest, "nginx@" + someDigest},
		{"nginx:v2@" + someDigest, "docker.io/library/nginx@" + someDigest, "nginx@" + someDigest},
		{"docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"},
		{"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
	}
	for _, tt := range tests {
		got, err := layout.ParseName(tt.in)
		if err != nil || got != tt.canonical {
			t.Errorf("ParseName(%q) = %q, %v; want %q", tt.in, got, err, tt.canonical)
		}
		if f := layout.Familiar(got); f != tt.familiar {
			t.Errorf("Familiar(%q) = %q, want %q", got, f, tt.familiar)
		}
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	for _, in := range []string{"", "Nginx", "nginx:", "a b", "nginx:v/2", "-x", strings.TrimPrefix(someDigest, "sha256:"), "x@sha256:12"} {
		if got, err := layout.ParseName(in); err == nil {
			t.Errorf("ParseName(%q) = %q, want an error", in, got)
		}
	}
}
