package tests

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// proxyserver starts a proxy on the loopback, puts its address into PROXY, and writes
// a line to the file proxied for each host that it is asked to reach. All names of
// hosts lead it to this machine.
func proxyserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: proxyserver")
	}
	p := &proxy{file: ts.MkAbs("proxied")}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	ts.Defer(func() {
		server.CloseClientConnections()
		server.Close()
		p.tunnels.Wait()
	})
	ts.Setenv("PROXY", server.URL)
}

// proxy is a forwarding proxy (RFC 9110, 9.3.6 for CONNECT).
type proxy struct {
	file    string
	mu      sync.Mutex
	tunnels sync.WaitGroup
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.note(r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	address := "127.0.0.1:" + port
	if r.Method == http.MethodConnect {
		p.tunnel(w, address)
		return
	}
	r.URL.Host = address
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func (p *proxy) note(r *http.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.OpenFile(p.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s %s\n", r.Method, r.Host)
	return err
}

// tunnel joins the client's connection to a server's till one of them ends.
func (p *proxy) tunnel(w http.ResponseWriter, address string) {
	far, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	p.tunnels.Add(2)
	join := func(to, from net.Conn) {
		defer p.tunnels.Done()
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	go join(far, near)
	go join(near, far)
}
