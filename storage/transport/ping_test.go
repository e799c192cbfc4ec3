package transport_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/transport"
)

func TestAServerThatIsNoRegistryIsToldAsSuch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		header map[string]string
		cause  string
	}{
		{"a registry", http.StatusOK, map[string]string{"Content-Type": "application/json"}, ""},
		{"one that says so in a page", http.StatusOK, map[string]string{"Content-Type": "text/html", "Docker-Distribution-Api-Version": "registry/2.0"}, ""},
		{"one that wants a login", http.StatusUnauthorized, map[string]string{"Content-Type": "text/html", "Www-Authenticate": `Basic realm="x"`}, ""},
		{"a web server", http.StatusOK, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "isn't a registry: it answers with a page of HTML"},
		{"one without that path", http.StatusNotFound, map[string]string{"Content-Type": "text/html"}, "isn't a registry: 404 Not Found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tc.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tc.status)
			}))
			t.Cleanup(server.Close)
			address := server.Listener.Addr().String()
			_, err := transport.Ping(t.Context(), address, transport.Options{})
			switch {
			case tc.cause == "" && err != nil:
				t.Error(err)
			case tc.cause != "" && (err == nil || err.Error() != address+": what answers at "+address+" "+tc.cause || strings.Contains(err.Error(), "no such image")):
				t.Errorf("got %v", err)
			}
		})
	}
}
