package transport_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/transport"
)

func TestCertificatesOfOneRegistry(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	host, dir, yes := server.Listener.Addr().String(), t.TempDir(), true
	try := func() error {
		return transport.CheckLogin(t.Context(), host, "user", "password", transport.Options{TLSVerify: &yes})
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the certificate: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, host), 0o700); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, host, "ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(transport.CertsEnv, dir)
	if err := try(); err != nil {
		t.Errorf("with the certificate: %v", err)
	}
}

func TestCertificatesOfOtherRegistriesAreKept(t *testing.T) {
	config, dir := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	for _, path := range []string{filepath.Join(config, "containers/certs.d/mine"), filepath.Join(config, "containers/certs.d/other"), filepath.Join(dir, "mine")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := transport.CompleteCerts(dir); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "other")); err != nil || target != filepath.Join(config, "containers/certs.d/other") {
		t.Errorf("other is %q: %v", target, err)
	}
	if st, err := os.Lstat(filepath.Join(dir, "mine")); err != nil || !st.IsDir() {
		t.Errorf("mine has given way: %v", err)
	}
}

func TestLoginsOfKanikosUsers(t *testing.T) {
	home, kaniko := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("KANIKO_DIR", kaniko)
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"} {
		t.Setenv(name, "")
	}
	write := func(dir, user string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		text := `{"auths":{"registry.example.com":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":p")) + `"}}}`
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	user := func() string {
		t.Helper()
		user, _, err := transport.Login("registry.example.com", transport.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return user
	}
	if got := user(); got != "" {
		t.Errorf("without any file: %q", got)
	}
	write(filepath.Join(kaniko, ".docker"), "of-kaniko")
	if got := user(); got != "of-kaniko" {
		t.Errorf("with kaniko's file: %q", got)
	}
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	write(filepath.Join(run, "containers"), "of-mine")
	if err := os.Rename(filepath.Join(run, "containers/config.json"), filepath.Join(run, "containers/auth.json")); err != nil {
		t.Fatal(err)
	}
	if got := user(); got != "of-mine" {
		t.Errorf("with both files: %q", got)
	}
}
