package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

func TestNamesOfURLs(t *testing.T) {
	for address, want := range map[string]string{
		"http://h/a/b.tgz": "b.tgz", "http://h/a/b.tgz?x=/y#z": "b.tgz", "http://h/a%20b": "a b",
		"http://h/dir/": "dir", "http://h": "__unnamed__", "http://h/?q": "__unnamed__",
	} {
		if got := NewFile(address, "", nil, nil).Name(); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestWhatIsAnAddress(t *testing.T) {
	for source, want := range map[string]string{
		"http://h/f": "http", "https://h/f.tar.gz": "http", "https://h/r.git": "git", "https://h/r.git#v1:sub": "git",
		"git://h/r": "git", "ssh://git@h/r": "git", "git@github.com:o/r.git": "git",
		"file": "", "./http:": "", "github.com/o/r": "", "ftp://h/f": "", "odd@x": "",
	} {
		got := ""
		switch {
		case IsHTTP(source):
			got = "http"
		case IsGit(source):
			got = "git"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

type memory map[string]cache.Answer

func (m memory) Answer(address string) (cache.Answer, bool) { a, ok := m[address]; return a, ok }

func (m memory) PutAnswer(address string, a cache.Answer) error {
	m[address] = a
	return nil
}

func TestAFileIsOnlyFetchedWhereItMayBe(t *testing.T) {
	ctx := context.Background()
	content, heeds, got := "one", true, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		etag := `"` + content + `"`
		w.Header().Set("ETag", etag)
		if heeds && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		got++
		_, _ = w.Write([]byte(content))
	}))
	defer server.Close()
	m, dir := memory{}, func() (string, error) { return t.TempDir(), nil }

	if _, err := NewFile(server.URL, "", m, nil).Resolve(ctx); !errors.Is(err, ErrNotHere) || got != 0 {
		t.Fatalf("unknown: %v, fetched %d times", err, got)
	}
	f := NewFile(server.URL, "", m, dir)
	d, err := f.Resolve(ctx)
	if err != nil || d != digest.FromString("one") {
		t.Fatalf("first: %s, %v", d, err)
	}
	where, err := f.Fetch(ctx)
	data, _ := os.ReadFile(filepath.Join(where, f.Name()))
	if err != nil || string(data) != "one" || got != 1 {
		t.Fatalf("fetched %q %d times, %v", data, got, err)
	}
	for _, heeds = range []bool{true, false} {
		if d, err := NewFile(server.URL, "", m, nil).Resolve(ctx); err != nil || d != digest.FromString("one") {
			t.Fatalf("known: %s, %v", d, err)
		}
	}
	content = "two"
	if _, err := NewFile(server.URL, "", m, nil).Resolve(ctx); !errors.Is(err, ErrNotHere) {
		t.Fatalf("changed: %v", err)
	}
	if _, err := NewFile(server.URL, digest.FromString("one"), m, dir).Fetch(ctx); err == nil {
		t.Fatal("another checksum was taken")
	}
}

func TestAFileThatChangesMeanwhile(t *testing.T) {
	ctx := context.Background()
	content := "one"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+content+`"`)
		if r.Header.Get("If-None-Match") == `"`+content+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(content))
	}))
	defer server.Close()
	m := memory{server.URL: {ETag: `"one"`, Digest: digest.FromString("one")}}
	f := NewFile(server.URL, "", m, func() (string, error) { return t.TempDir(), nil })
	if _, err := f.Resolve(ctx); err != nil {
		t.Fatal(err)
	}
	content = "two"
	if _, err := f.Fetch(ctx); err == nil {
		t.Fatal("what was fetched isn't what the key says")
	}
}

func TestSilentServersAreNotWaitedForForEver(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	body := newBody("http://h/f", r, time.Millisecond)
	defer body.Close()
	_, err := io.ReadAll(body)
	if err == nil || !strings.Contains(err.Error(), "http://h/f broke off: the server has sent nothing for 1ms") {
		t.Error(err)
	}
}
