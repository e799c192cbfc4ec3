package transport_test

import (
	"testing"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/transport"
)

func TestOnlyARegistrysNameIsOne(t *testing.T) {
	for _, good := range []string{"quay.io", "localhost:5000", "quay.io/team", "127.0.0.1:1", "[::1]:5000", "docker.io"} {
		if got, err := transport.Registry(good); got != good {
			t.Errorf("%s: %q, %v", good, got, err)
		}
	}
	for bad, remedy := range map[string]string{
		"":                         "name it as quay.io or localhost:5000",
		"../x":                     "name it as quay.io or localhost:5000",
		"localhost:99999":          "name it as quay.io or localhost:5000",
		"localhost:0":              "name it as quay.io or localhost:5000",
		"localhost:":               "name it as quay.io or localhost:5000",
		"-x":                       "name it as quay.io or localhost:5000",
		"http://localhost:5000/v2": "name the registry alone: localhost:5000",
	} {
		if got, err := transport.Registry(bad); err == nil || fault.Remedy(err) != remedy {
			t.Errorf("%q: %q, %v, remedy %q", bad, got, err, fault.Remedy(err))
		}
	}
}
