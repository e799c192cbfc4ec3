// Package hostile is a registry on the loopback for tests: it serves images from
// memory, whose manifests may lie about them, and answers requests as no registry
// should: late, never, with something else, or cut off in the middle.
//
// A Registry that is told nothing behaves well:
//
//	r := hostile.New()
//	defer r.Close()
//	r.Push("app:v1", hostile.Layer{Blob: gzipped, DiffID: diffID})
//	r.On("/blobs/", 1, hostile.CutOff(1000)) // the first one breaks
package hostile

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// A Fault answers a request in place of the registry, or lets that answer by
// next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Registry is a registry with an address on the loopback. It may be used by
// several goroutines.
type Registry struct {
	server *httptest.Server
	closed chan struct{}

	mu        sync.Mutex
	blobs     map[string][]byte // by digest
	manifests map[string]manifest
	faults    []*fault
	requests  []Request
}

// Request is one that was made.
type Request struct {
	Method, Path, Range string
}

type manifest struct {
	mediaType string
	content   []byte
}

type fault struct {
	part  string
	times int // -1 for ever
	do    Fault
}

// New starts a registry that speaks plain HTTP.
func New() *Registry {
	r := newRegistry()
	r.server = httptest.NewServer(r)
	return r
}

// NewTLS starts one with a certificate that nobody knows.
func NewTLS() *Registry {
	r := newRegistry()
	r.server = httptest.NewUnstartedServer(r)
	// It would complain of its clients.
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	r.server.StartTLS()
	return r
}

func newRegistry() *Registry {
	return &Registry{closed: make(chan struct{}), blobs: map[string][]byte{}, manifests: map[string]manifest{}}
}

// Close ends the registry, and all that hangs in it.
func (r *Registry) Close() {
	close(r.closed)
	r.server.CloseClientConnections()
	r.server.Close()
}

// Address is the registry's HOST:PORT.
func (r *Registry) Address() string { return r.server.Listener.Addr().String() }

// On answers the next so many requests whose path contains part by a fault; -1 is
// all of them. What was said first goes first.
func (r *Registry) On(part string, times int, do Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &fault{part, times, do})
}

// Requests gives what was asked for so far, of paths that contain part.
func (r *Registry) Requests(part string) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.requests), func(q Request) bool { return !strings.Contains(q.Path, part) })
}

// ServeHTTP answers a request, by a fault where one is due.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if do := r.due(q); do != nil {
		do(w, q, http.HandlerFunc(r.serve))
		return
	}
	r.serve(w, q)
}

// due notes a request and takes the fault that is meant for it.
func (r *Registry) due(q *http.Request) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, Request{q.Method, q.URL.Path, q.Header.Get("Range")})
	for _, f := range r.faults {
		if f.times == 0 || !strings.Contains(q.URL.Path, f.part) {
			continue
		}
		if f.times > 0 {
			f.times--
		}
		return f.do
	}
	return nil
}
