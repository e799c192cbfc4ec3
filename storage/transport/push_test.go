package transport_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// inFront stands before a registry and may answer in its place. It gives its own
// address.
func inFront(t *testing.T, addr string, answers func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse("http://" + addr)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestPushSendsAgainWhatFailed(t *testing.T) {
	var patches, puts atomic.Int32
	addr := inFront(t, registry(t), func(w http.ResponseWriter, r *http.Request) bool {
		first := r.Method == http.MethodPatch && patches.Add(1) == 1 ||
			r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && puts.Add(1) == 1
		if first {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return first
	})
	o := newOptions(t)
	img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one", "two")
	pushed, err := transport.Push(ctx, img, addr+"/app:v1", o)
	must(t, err)
	if got := digestIn(t, "docker://"+addr+"/app:v1"); got != pushed.Digest.String() {
		t.Errorf("there is %s, not %s", got, pushed.Digest)
	}
	if n := patches.Load(); n != 4 { // two layers, the config, and one again
		t.Errorf("%d blobs sent", n)
	}
	if n := puts.Load(); n != 2 {
		t.Errorf("%d manifests sent", n)
	}
}

// A registry that no longer answers, or takes no more bytes, is given up; one that
// needs long for what it has got isn't.
func TestPushGivesUpWhoIsSilent(t *testing.T) {
	hangs := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who hasn't read it doesn't see the client go
		<-r.Context().Done()
	}
	for what, tt := range map[string]struct {
		part, method string
		do           func(http.ResponseWriter, *http.Request)
		fails        bool
	}{
		"at first":    {"/v2/", http.MethodGet, hangs, true},
		"of blobs":    {"/blobs/", http.MethodHead, hangs, true},
		"for uploads": {"/uploads/", http.MethodPost, hangs, true},
		"in a blob": {"/uploads/", http.MethodPatch, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1)
			time.Sleep(20 * impatient) // reads no more
		}, true},
		"but busy": {"/uploads/", http.MethodPut, func(_ http.ResponseWriter, _ *http.Request) {
			time.Sleep(2 * impatient)
		}, false},
		"in the end": {"/manifests/", http.MethodPut, hangs, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			addr := inFront(t, registry(t), func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != tt.method || !strings.Contains(r.URL.Path, tt.part) {
					return false
				}
				tt.do(w, r)
				return tt.fails
			})
			o := newOptions(t)
			o.Patience = impatient
			img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", noise(t, 16<<20))
			_, err := transport.Push(ctx, img, addr+"/app:v1", o)
			if tt.fails && (err == nil || !strings.Contains(err.Error(), "is silent: ") || fault.Remedy(err) == "") || !tt.fails && err != nil {
				t.Errorf("Push: %v, remedy %q", err, fault.Remedy(err))
			}
		})
	}
}

func TestPushSendsLayersSideBySide(t *testing.T) {
	const layers = 4
	var begun atomic.Int32
	all := make(chan struct{})
	addr := inFront(t, registry(t), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			if begun.Add(1) == layers {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(20 * time.Second):
				t.Error("the layers come one after the other")
			}
		}
		return false
	})
	o := newOptions(t)
	img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one", "two", "three", "four")
	_, err := transport.Push(ctx, img, addr+"/app:v1", o)
	must(t, err)
}

func TestPushSaysWhyItIsRefused(t *testing.T) {
	for what, tt := range map[string]struct {
		status       int
		body         string
		cause, solve string
	}{
		"denied":       {http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, "denied: requested access to the resource is denied", "builder login"},
		"unauthorized": {http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, "unauthorized: authentication required", "builder login"},
		"read-only":    {http.StatusMethodNotAllowed, `{"errors":[{"code":"UNSUPPORTED","message":"the registry takes nothing"}]}`, "the registry takes nothing", ""},
	} {
		t.Run(what, func(t *testing.T) {
			addr := inFront(t, registry(t), func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
				return true
			})
			o := newOptions(t)
			img := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one")
			_, err := transport.Push(ctx, img, addr+"/app:v1", o)
			if err == nil || !strings.Contains(err.Error(), tt.cause) || !strings.Contains(fault.Remedy(err), tt.solve) {
				t.Errorf("error %v\nremedy %q\nwant %q and %q", err, fault.Remedy(err), tt.cause, tt.solve)
			}
		})
	}
}

func TestPushTakesTheWholeIndexThatIsHere(t *testing.T) {
	addr := registry(t)
	o := newOptions(t)
	amd := makeImage(t, o.Layout, nil, layout.FormatOCI, "amd64", "one")
	arm := makeImage(t, o.Layout, nil, layout.FormatOCI, "arm64", "two")
	pushIndex(t, o, addr+"/first:v1", amd, arm)
	img, err := o.Layout.Find("multi")
	must(t, err)
	var arrived []v1.Descriptor
	o.Arrived = func(d v1.Descriptor) { arrived = append(arrived, d) }
	pushed, err := transport.Push(ctx, img, addr+"/whole:v1", o)
	must(t, err)
	if pushed.Digest != img.Index.Digest || len(arrived) != 2 {
		t.Errorf("pushed %s and %d images", pushed.Digest, len(arrived))
	}
	o.Platform = "linux/amd64"
	pushed, err = transport.Push(ctx, img, addr+"/one:v1", o)
	must(t, err)
	if pushed.Digest != img.Manifest.Digest {
		t.Errorf("for one platform: %s", pushed.Digest)
	}

	// Of what isn't whole, the image that is.
	to := newOptions(t)
	part, err := transport.Pull(ctx, addr+"/whole:v1", to)
	must(t, err)
	pushed, err = transport.Push(ctx, part, addr+"/part:v1", to)
	must(t, err)
	if part.Index == nil || pushed.Digest != part.Manifest.Digest {
		t.Errorf("of a part: %s", pushed.Digest)
	}
}
