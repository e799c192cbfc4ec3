package trust

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// Dir is the directory inside in which programs find what WriteFiles writes.
const Dir = "/run/builder/trust"

// Files of Dir: the authorities alone, and with all others that the image trusts.
const (
	ownName    = "ca.crt"
	bundleName = "ca-bundle.crt"
	aptName    = "apt.conf"
	wgetName   = "wgetrc"
)

// Names are those of the files.
func Names() []string { return []string{ownName, bundleName, aptName, wgetName} }

// Env leads programs to the files: each variable is read by those that it is named
// after, the first by what goes by OpenSSL, and by Go, Ruby, PHP and .NET. apt and
// wget, which go by GnuTLS, read a configuration.
func (a Authorities) Env() []string {
	if a.None() {
		return nil
	}
	bundle := Dir + "/" + bundleName
	env := []string{"NODE_EXTRA_CA_CERTS=" + Dir + "/" + ownName, "DENO_CERT=" + Dir + "/" + ownName}
	for _, name := range []string{
		fileEnv, "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO",
	} {
		env = append(env, name+"="+bundle)
	}
	return append(env, "APT_CONFIG="+Dir+"/"+aptName, "SYSTEM_WGETRC="+Dir+"/"+wgetName)
}

// WriteFiles makes a directory that is to be shown as Dir, for the root file system
// at rootfs, in which nothing runs yet. An image that trusts nobody is given the
// machine's authorities, since it can't reach anything else before it installs its
// own.
func (a Authorities) WriteFiles(dir, rootfs string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask: others than root shall get in
		return err
	}
	store := a.storeOf(rootfs)
	if store == nil {
		if path, _ := machineBundle(); path != "" {
			store, _ = readBounded(path)
		}
	}
	bundle := Dir + "/" + bundleName
	for name, data := range map[string][]byte{
		ownName: a.pem, bundleName: a.over(store),
		aptName:  []byte("Acquire::https::CaInfo \"" + bundle + "\";\n"),
		wgetName: []byte("ca_certificate = " + bundle + "\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// storeOf gives the bundle of an image, nil where it has none.
func (a Authorities) storeOf(rootfs string) []byte {
	for _, path := range stores(rootfs) {
		if data, err := readBounded(path); err == nil {
			return data
		}
	}
	return nil
}

// stores are those bundles that an image has, each once. Nothing runs in it.
func stores(rootfs string) []string {
	var found []string
	for _, name := range bundles {
		path, err := securejoin.SecureJoin(rootfs, name)
		if err != nil || slices.Contains(found, path) {
			continue
		}
		if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && st.Size() <= maxFile {
			found = append(found, path)
		}
	}
	return found
}

// Show puts the authorities into the bundles that the image at rootfs has, for
// programs that read nothing else. hide takes them out again when nothing runs there
// any more, also of what was made anew meanwhile, so that the files are what they
// were, or would have become. They are written and not mounted over: what installs
// certificates puts a new file in the place of the old one, which the kernel refuses
// for one that is mounted over.
func (a Authorities) Show(rootfs string) (hide func() error, err error) {
	if a.None() {
		return func() error { return nil }, nil
	}
	type original struct {
		data []byte
		stat os.FileInfo
	}
	originals := map[string]original{}
	for _, path := range stores(rootfs) {
		st, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		if st.Sys().(*syscall.Stat_t).Nlink > 1 { // drivers disagree on what happens to the other names
			continue
		}
		data, err := readBounded(path)
		if err != nil {
			return nil, err
		}
		if err := rewrite(path, a.over(data), st.ModTime()); err != nil {
			return nil, err
		}
		originals[path] = original{data, st}
	}
	return func() error {
		for _, path := range stores(rootfs) {
			before, known := originals[path]
			st, err := os.Lstat(path)
			if err != nil {
				return err
			}
			data, err := readBounded(path)
			switch {
			case err != nil:
				return err
			case known && bytes.Equal(data, a.over(before.data)):
				data = before.data
			case bytes.Contains(data, a.block()):
				data = bytes.ReplaceAll(data, a.block(), nil)
			default:
				continue
			}
			if err := rewrite(path, data, st.ModTime()); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// rewrite gives a file another content, and leaves owner, mode and time.
func rewrite(path string, data []byte, modified time.Time) error {
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, modified)
}
