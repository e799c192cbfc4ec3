package tests

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// pickyRegistry is a registry that takes no manifest for the first times.
func pickyRegistry(t *testing.T, times int32, says string) (address string) {
	t.Helper()
	registry, stop, err := startRegistry(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	var refused atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && refused.Add(1) <= times {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"errors":[{"code":"TAG_INVALID","message":"` + says + `"}]}`))
			return
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Tags that can't change are no failure where that is asked for.
func TestExecutorTakesImmutableTags(t *testing.T) {
	for _, says := range []string{
		"The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.",
		"The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.",
		"The repository has enabled tag immutability: v1",
		"no such luck",
	} {
		s, dir := newContext(t, "FROM busybox\nLABEL a=b\n")
		name := pickyRegistry(t, 1000, says) + "/app:v1"
		if out, err := s.builder("executor", "-c", dir, "-d", name); err == nil || !strings.Contains(out+err.Error(), says) {
			t.Errorf("%q wasn't told: %v\n%s", says, err, out)
		}
		out, err := s.builder("executor", "-c", dir, "-d", name, "--push-ignore-immutable-tag-errors")
		if is := strings.Contains(says, "immutab"); (err == nil) != is {
			t.Errorf("%q: %v\n%s", says, err, out)
		}
	}
}

func TestExecutorPushesAgain(t *testing.T) {
	s, dir := newContext(t, "FROM busybox\nLABEL a=b\n")
	name := pickyRegistry(t, 1, "try again") + "/app:v1"
	if out, err := s.builder("executor", "-c", dir, "-d", name, "--push-retry=1"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
