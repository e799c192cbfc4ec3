package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/builder-oci/builder/internal/fault"
)

// authority makes the certificate of one that counts for so many days around now.
func authority(t *testing.T, name string, from, to int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.AddDate(0, 0, from), NotAfter: now.AddDate(0, 0, to),
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCertificatesAreReadOnce(t *testing.T) {
	one, two := authority(t, "one", -1, 1), authority(t, "two", -1, 1)
	file := write(t, filepath.Join(t.TempDir(), "ca.pem"), append([]byte("one and two\n"), append(one, two...)...))
	again := write(t, filepath.Join(t.TempDir(), "one.pem"), one)
	a, notes, err := Read([]string{file, again}, time.Now())
	if err != nil || len(notes) > 0 || string(a.PEM()) != string(one)+string(two) {
		t.Errorf("got %v, %v and\n%s", err, notes, a.PEM())
	}
}

func TestFilesAreChecked(t *testing.T) {
	good := authority(t, "good", -1, 1)
	block, _ := pem.Decode(good)
	for name, test := range map[string]struct {
		data                []byte
		want, remedy, doubt string
	}{
		"good":    {data: good},
		"empty":   {want: "holds no certificate", remedy: "BEGIN CERTIFICATE"},
		"binary":  {data: block.Bytes, want: "binary form", remedy: "openssl x509 -inform der"},
		"damaged": {data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes[:50]}), want: "certificate 1 of", remedy: "again"},
		"key":     {data: append(good, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x")})...), want: "private key", remedy: "alone"},
		"expired": {data: authority(t, "old", -3, -2), doubt: `"old" expired on`},
		"future":  {data: authority(t, "new", 2, 3), doubt: `"new" counts from`},
	} {
		t.Run(name, func(t *testing.T) {
			_, notes, err := Read([]string{write(t, filepath.Join(t.TempDir(), "ca.pem"), test.data)}, time.Now())
			if test.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want %q", err, test.want)
			}
			if !strings.Contains(fault.Remedy(err), test.remedy) {
				t.Errorf("got the remedy %q, want %q", fault.Remedy(err), test.remedy)
			}
			if test.doubt == "" != (len(notes) == 0) || len(notes) > 0 && !strings.Contains(notes[0].Error(), test.doubt) {
				t.Errorf("got the notes %v, want %q", notes, test.doubt)
			}
		})
	}
}

// What programs do with an image's bundle while it shows the authorities, and what is
// to be there afterwards.
func TestBundlesAreTheImagesAgain(t *testing.T) {
	const path, original = "etc/ssl/certs/ca-certificates.crt", "the image's\n"
	ours := authority(t, "ours", -1, 1)
	a := FromPEM(ours)
	for name, test := range map[string]struct {
		do   func(path string) error
		want string
	}{
		"nothing":  {func(string) error { return nil }, original},
		"appended": {func(p string) error { return appendTo(p, "more\n") }, original + "more\n"},
		"new":      {func(p string) error { return replace(p, "new\n") }, "new\n"},
		"the same authority of the image's own": {
			func(p string) error { return replace(p, "new\n"+string(ours)) }, "new\n" + string(ours),
		},
		"copied over": {func(p string) error { return replace(p, "new\n"+string(a.block())) }, "new\n"},
	} {
		t.Run(name, func(t *testing.T) {
			rootfs := t.TempDir()
			file := write(t, filepath.Join(rootfs, path), []byte(original))
			if err := os.MkdirAll(filepath.Join(rootfs, "etc/pki/tls/certs"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/"+path, filepath.Join(rootfs, "etc/pki/tls/certs/ca-bundle.crt")); err != nil {
				t.Fatal(err)
			}
			then := time.Unix(1e9, 0)
			if err := os.Chtimes(file, then, then); err != nil {
				t.Fatal(err)
			}
			hide, err := a.Show(rootfs)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, file); strings.Count(got, string(ours)) != 1 || !strings.HasPrefix(got, original) {
				t.Errorf("shown:\n%s", got)
			}
			if err := test.do(file); err != nil {
				t.Fatal(err)
			}
			if err := hide(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, file); got != test.want {
				t.Errorf("left:\n%s\nwant:\n%s", got, test.want)
			}
			if st, err := os.Stat(file); name == "nothing" && (err != nil || !st.ModTime().Equal(then)) {
				t.Errorf("the time is another: %v, %v", st.ModTime(), err)
			}
		})
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Close()
}

func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func TestAnImagesLinksLeadNowhereElse(t *testing.T) {
	outside := write(t, filepath.Join(t.TempDir(), "file"), []byte("the host's"))
	rootfs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(rootfs, "etc/ssl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(rootfs, "etc/ssl/cert.pem")); err != nil {
		t.Fatal(err)
	}
	a := FromPEM(authority(t, "ours", -1, 1))
	hide, err := a.Show(rootfs)
	if err != nil {
		t.Fatal(err)
	}
	if err := hide(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, outside); got != "the host's" {
		t.Errorf("a file of the host's was written to:\n%s", got)
	}
}

func TestFilesShownHaveTheImagesAuthoritiesToo(t *testing.T) {
	ours := authority(t, "ours", -1, 1)
	a := FromPEM(ours)
	rootfs, dir := t.TempDir(), filepath.Join(t.TempDir(), "trust")
	write(t, filepath.Join(rootfs, "etc/ssl/cert.pem"), []byte("the image's"))
	if err := a.WriteFiles(dir, rootfs); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, bundleName)); !strings.HasPrefix(got, "the image's\n") || !strings.HasSuffix(got, string(ours)) {
		t.Errorf("the bundle is\n%s", got)
	}
	for _, variable := range a.Env() {
		name, value, _ := strings.Cut(variable, "=")
		if _, err := os.Stat(filepath.Join(dir, strings.TrimPrefix(value, Dir+"/"))); err != nil {
			t.Errorf("%s names nothing: %v", name, err)
		}
	}
	if FromPEM(nil).Env() != nil {
		t.Error("without authorities there are variables")
	}
}

func TestTheMachinesBundleIsMadeOnce(t *testing.T) {
	base := write(t, filepath.Join(t.TempDir(), "base.pem"), []byte("the machine's\n"))
	t.Setenv(fileEnv, base)
	ours := authority(t, "ours", -1, 1)
	a, dir := FromPEM(ours), filepath.Join(t.TempDir(), "trust")
	first, err := a.Machine(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Machine(dir)
	if err != nil || strings.Join(first, " ") != strings.Join(again, " ") {
		t.Errorf("got %v and %v, %v", first, again, err)
	}
	_, path, _ := strings.Cut(first[0], "=")
	if got := read(t, path); !strings.HasPrefix(got, "the machine's\n") || !bytes.Contains([]byte(got), ours) {
		t.Errorf("the bundle is\n%s", got)
	}
	write(t, base, []byte("the machine's new ones\n"))
	if changed, err := a.Machine(dir); err != nil || changed[0] == first[0] {
		t.Errorf("another machine's bundle gives the same: %v, %v", changed, err)
	}
}

func TestAuthoritiesAreInstalledWhereAnyFileHasOne(t *testing.T) {
	one := authority(t, "Root", -1, 1)
	for _, tc := range []struct {
		name, dirs string
		make       func(t *testing.T, root string)
		want       bool
	}{
		{"nothing at all", "", func(*testing.T, string) {}, false},
		{"Debian's bundle", "", func(t *testing.T, root string) { write(t, root+"/etc/ssl/certs/ca-certificates.crt", one) }, true},
		{"Red Hat's", "", func(t *testing.T, root string) {
			write(t, root+"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", one)
		}, true},
		{"a file of its own", "", func(t *testing.T, root string) { write(t, root+"/etc/ssl/certs/4a6481c9.0", one) }, true},
		{"an empty bundle", "", func(t *testing.T, root string) { write(t, root+"/etc/ssl/certs/ca-certificates.crt", nil) }, false},
		{"no certificate beside what is further down", "", func(t *testing.T, root string) {
			write(t, root+"/etc/ssl/certs/java/cacerts", one)
			write(t, root+"/etc/ssl/certs/README", []byte("none"))
		}, false},
		{"links to nothing", "", func(t *testing.T, root string) {
			write(t, root+"/etc/ssl/certs/README", nil)
			if err := os.Symlink("/nonexistent/Root.crt", root+"/etc/ssl/certs/Root.pem"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a directory that is named", "/none:/own", func(t *testing.T, root string) { write(t, root+"/own/ca.pem", one) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("SSL_CERT_DIR", tc.dirs)
			root := t.TempDir()
			tc.make(t, root)
			if got := installed(root); got != tc.want {
				t.Errorf("installed: %v", got)
			}
		})
	}
}

func TestAPipeWithoutAWriterIsEmpty(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "ca")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read([]string{pipe}, time.Now()); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Error(err)
	}
}
