package tests

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// webserver DIR serves a directory on the loopback, with ETags made of the
// files' contents, and puts its address into WEB. Git repositories in it, as
// bare directories, are below /git/, and below /private/ for who logs in: as
// reader with the password secret, as GIT_AUTH_TOKEN token does, or with the header
// "Bearer header". What was requested, and the status of the
// answers, is written to the file requests. /broken/ breaks off in the middle of
// a file, and /status/500 is what it says. By https, at the address in WEBTLS,
// nobody knows who has signed the certificate, which is in the file web-ca.pem. While there is a file hang in the directory nothing is answered. It
// ends with the script.
func webserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: webserver DIR")
	}
	dir := ts.MkAbs(args[0])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	backend, err := gitBackend(dir)
	ts.Check(err)
	files := http.NewServeMux()
	files.Handle("/", withETag(dir, http.FileServer(http.Dir(dir))))
	files.Handle("/git/", backend)
	files.Handle("/private/", private(backend))
	files.HandleFunc("/broken/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	})
	files.HandleFunc("/status/500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	encrypted := httptest.NewUnstartedServer(files)
	encrypted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	encrypted.StartTLS()
	ts.Defer(encrypted.Close)
	ts.Setenv("WEBTLS", encrypted.Listener.Addr().String())
	signer := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encrypted.Certificate().Raw})
	ts.Check(os.WriteFile(ts.MkAbs("web-ca.pem"), signer, 0o644))
	server := &http.Server{Handler: &requestLog{file: ts.MkAbs("requests"), next: hanging(dir, files)}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	ts.Defer(func() {
		_ = server.Close()
		<-done
	})
	ts.Setenv("WEB", listener.Addr().String())
}

func hanging(dir string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Lstat(filepath.Join(dir, "hang")); err == nil {
			_ = os.WriteFile(filepath.Join(dir, "hanging"), nil, 0o644)
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
}

func gitBackend(dir string) (http.Handler, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, err
	}
	return &cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Root: "/git",
		Env:    []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"},
		Stderr: io.Discard,
	}, nil
}

// private wants a login for what is served as /git/ to all.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch login := user + ":" + password; {
		case login == "reader:secret", login == "x-access-token:token", r.Header.Get("Authorization") == "Bearer header":
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path = "/git/" + strings.TrimPrefix(r.URL.Path, "/private/")
		next.ServeHTTP(w, inner)
	})
}

func withETag(dir string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(r.URL.Path))); err == nil {
			w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))))
		}
		next.ServeHTTP(w, r)
	})
}

// requestLog writes a line for each request.
type requestLog struct {
	file string
	next http.Handler
	mu   sync.Mutex
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	l.next.ServeHTTP(status, r)
	if strings.HasPrefix(r.URL.Path, "/git/") || strings.HasPrefix(r.URL.Path, "/private/") {
		r.URL.RawQuery = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%s %s %d\n", r.Method, r.URL.Path, status.status)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
