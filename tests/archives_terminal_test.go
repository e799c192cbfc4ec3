package tests

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTerminalIsNoPlaceForAnArchive(t *testing.T) {
	s, _ := newContext(t, "")
	term := newTerminal(t, s.command("builder", "save", "busybox"), 80, 24)
	if code := term.ends(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	term.shows("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	term = newTerminal(t, s.command("builder", "load"), 80, 24)
	if code := term.ends(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	term.shows("the standard input is a terminal, not an archive")
}

// newFIFO gives a named pipe, open so that neither side waits for the other.
func newFIFO(t *testing.T, s *state) *os.File {
	t.Helper()
	path := filepath.Join(s.dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestTerminalShowsHowFarASaveIs(t *testing.T) {
	s, _ := newContext(t, "")
	fifo := newFIFO(t, s)
	term := newTerminal(t, s.command("builder", "save", "-o", fifo.Name(), "busybox"), 80, 24)
	t.Logf("while nobody reads:\n%s", term.shows("Saving 1 image", "262kB / "))
	go func() { _, _ = io.Copy(io.Discard, fifo) }()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if screen := term.text(); screen != "" {
		t.Errorf("left on the screen:\n%s", screen)
	}
}

func TestTerminalShowsHowFarALoadIs(t *testing.T) {
	s, _ := newContext(t, "")
	file := filepath.Join(s.dir, "busybox.tar")
	if _, err := s.builder("save", "-o", file, "busybox"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.builder("rmi", "busybox"); err != nil {
		t.Fatal(err)
	}
	fifo := newFIFO(t, s)
	term := newTerminal(t, s.command("builder", "load", "-i", fifo.Name()), 80, 24)
	rest := make(chan struct{})
	pass := sync.OnceFunc(func() { close(rest) })
	defer pass()
	go func() {
		half := len(data) / 2
		_, _ = fifo.Write(data[:half])
		<-rest
		_, _ = fifo.Write(data[half:])
		_ = fifo.Close()
	}()
	t.Logf("in the middle:\n%s", term.shows("Loading images", "kB / "))
	pass()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if screen := term.text(); screen != "Loaded image: busybox:latest" {
		t.Errorf("left on the screen:\n%s", screen)
	}
}

func TestTerminalShowsHowFarAnImportIs(t *testing.T) {
	s, _ := newContext(t, "")
	tarball := treeTar(map[string]string{"big": strings.Repeat("x", 300_000)})
	rest := make(chan struct{})
	pass := sync.OnceFunc(func() { close(rest) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(tarball)))
		_, _ = w.Write(tarball[:150_000])
		w.(http.Flusher).Flush()
		<-rest
		_, _ = io.Copy(w, bytes.NewReader(tarball[150_000:]))
	}))
	defer server.Close()
	defer pass()
	term := newTerminal(t, s.command("builder", "import", server.URL+"/tree.tar", "tree"), 80, 24)
	t.Logf("in the middle:\n%s", term.shows("Downloading from http://", "150kB / 302kB"))
	pass()
	if code := term.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if screen := term.text(); !strings.HasPrefix(screen, "sha256:") || strings.Contains(screen, "Downloading") {
		t.Errorf("left on the screen:\n%s", screen)
	}
}
