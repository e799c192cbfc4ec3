package transport_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// newOptions makes an empty layout and the options to work on it.
func newOptions(t *testing.T) transport.Options {
	t.Helper()
	dir := t.TempDir()
	l := layout.Open(filepath.Join(dir, "images"), filepath.Join(dir, "index.lock")).WithFreed(filepath.Join(dir, "freed"))
	must(t, l.Create())
	temp := filepath.Join(dir, "temp")
	must(t, os.Mkdir(temp, 0o700))
	t.Cleanup(func() { nothingIsLeft(t, l, temp) })
	return transport.Options{Layout: l, Session: "test", TempDir: temp}
}

// noted gives the blobs that were noted as free.
func noted(t *testing.T, l *layout.Layout) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.Dir(), "../freed"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// nothingIsLeft holds a transport to cleaning up after itself.
func nothingIsLeft(t *testing.T, l *layout.Layout, temp string) {
	t.Helper()
	for _, pattern := range []string{filepath.Join(temp, "*"), filepath.Join(l.Dir(), "blobs/sha256/.tmp-*"), filepath.Join(l.Dir(), ".tmp-*")} {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %q (%v)", left, err)
		}
	}
}

// registry starts docker's registry on a loopback port and gives its host:port.
// Lines of configuration may be added.
func registry(t *testing.T, more ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := listener.Addr().String()
	must(t, listener.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n" +
		"storage: {filesystem: {rootdirectory: " + dir + "/data}}\nhttp: {addr: '" + addr + "'}\n" + strings.Join(more, "\n")
	must(t, os.WriteFile(config, []byte(text), 0o600))
	cmd := exec.Command("docker-registry", "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("the test needs docker-registry (Debian's package of that name): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			must(t, resp.Body.Close())
			return addr
		}
	}
	t.Fatalf("docker-registry doesn't answer:\n%s", log.String())
	return ""
}

// rootTar is a tar with one file for each of contents.
func rootTar(t testing.TB, contents ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, c := range contents {
		must(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", i), Mode: 0o644, Size: int64(len(c))}))
		_, err := w.Write([]byte(c))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// makeImage puts an image with a layer for each of contents into the layout.
func makeImage(t *testing.T, l *layout.Layout, names []string, format layout.Format, arch string, contents ...string) layout.Image {
	t.Helper()
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	cfg := &layout.ImageConfig{Created: &created, OS: "linux", Architecture: arch}
	var layers []v1.Descriptor
	for _, c := range contents {
		plain := rootTar(t, c)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(plain)
		must(t, err)
		must(t, z.Close())
		d, err := l.PutBlob(context.Background(), &packed)
		must(t, err)
		d.MediaType = v1.MediaTypeImageLayerGzip
		layers = append(layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(plain))
		cfg.History = append(cfg.History, v1.History{CreatedBy: "COPY"})
	}
	manifest, id, err := layout.WriteImage(context.Background(), l, cfg, layers, format, nil)
	must(t, err)
	must(t, l.Commit(context.Background(), names, manifest, nil))
	img, err := l.Find(id.String())
	must(t, err)
	return img
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// digestIn is what skopeo finds at a reference.
func digestIn(t *testing.T, ref string) string {
	t.Helper()
	return run(t, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", ref)
}

// source reads a reference to an image elsewhere.
func source(t *testing.T, ref string) transport.Source {
	t.Helper()
	from, ok := transport.ParseSource(ref)
	if !ok {
		t.Fatalf("%s names no transport", ref)
	}
	return from
}
