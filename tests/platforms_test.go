package tests

import (
	"archive/tar"
	"bytes"
	bits "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

// platforms DIR PLATFORM... writes an OCI layout whose one image is a
// multi-platform index. Each platform's image holds its name in /etc/platform;
// this machine's is busybox, and another's has the witness as /bin/sh. "here"
// stands for this machine's platform, and "single" first writes an image without
// an index.
func platforms(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: platforms DIR [single] PLATFORM...")
	}
	w := layoutWriter{dir: ts.MkAbs(args[0])}
	names := args[1:]
	single := names[0] == "single"
	if single {
		names = names[1:]
	}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for _, name := range names {
		d, err := w.image(strings.Replace(name, "here", "linux/"+runtime.GOARCH, 1))
		ts.Check(err)
		index.Manifests = append(index.Manifests, d)
	}
	top := index.Manifests[0]
	if !single {
		var err error
		top, err = w.object(v1.MediaTypeImageIndex, index)
		ts.Check(err)
	}
	top.Platform = nil
	list, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{top}})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(w.dir, v1.ImageIndexFile), list, 0o600))
	ts.Check(os.WriteFile(filepath.Join(w.dir, v1.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600))
}

// foreign is an architecture that this machine isn't.
func foreign() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// layoutWriter writes blobs of an OCI layout.
type layoutWriter struct{ dir string }

func (w layoutWriter) blob(mediaType string, data []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	file := filepath.Join(w.dir, "blobs/sha256", d.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return d, err
	}
	return d, os.WriteFile(file, data, 0o600)
}

func (w layoutWriter) object(mediaType string, object any) (v1.Descriptor, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return w.blob(mediaType, data)
}

// image writes the image for a platform.
func (w layoutWriter) image(name string) (v1.Descriptor, error) {
	parts := append(strings.Split(name, "/"), "")
	p := &v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	files, err := filesFor(p, name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	layer, err := w.blob(v1.MediaTypeImageLayer, files)
	if err != nil {
		return v1.Descriptor{}, err
	}
	image := v1.Image{Platform: *p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}}}
	config, err := w.object(v1.MediaTypeImageConfig, image)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := w.object(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: config, Layers: []v1.Descriptor{layer},
	})
	manifest.Platform = p
	return manifest, err
}

// filesFor gives the tar of a platform's image.
func filesFor(p *v1.Platform, name string) ([]byte, error) {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	if p.Architecture == runtime.GOARCH {
		if err := addBusybox(t); err != nil {
			return nil, err
		}
	}
	add := func(name string, mode int64, data []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	if program := witness(p.Architecture); p.Architecture != runtime.GOARCH && program != nil {
		if err := add("bin/sh", 0o755, program); err != nil {
			return nil, err
		}
	}
	if err := add("etc/platform", 0o644, []byte(name+"\n")); err != nil {
		return nil, err
	}
	return out.Bytes(), t.Close()
}

func addBusybox(to *tar.Writer) error {
	name, err := bases["busybox"]()
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for from := tar.NewReader(file); ; {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = to.WriteHeader(h)
		}
		if err == nil {
			_, err = io.Copy(to, from)
		}
		if err != nil {
			return err
		}
	}
}

// witness is a program of another architecture: it prints "hello from arm64" and
// ends. It is nil for architectures that the tests don't run.
func witness(arch string) []byte {
	text := "hello from " + arch + "\n"
	const base, headers = 0x400000, 64 + 56
	var machine uint16
	var code []byte
	switch arch {
	case "arm64":
		machine = 183
		n := uint32(len(text))
		for _, word := range []uint32{
			0xd2800808,        // mov x8, #64  write
			0xd2800020,        // mov x0, #1
			0x100000c1,        // adr x1, text, which is 24 bytes on
			0xd2800002 | n<<5, // mov x2, #n
			0xd4000001,        // svc #0
			0xd2800ba8,        // mov x8, #93  exit
			0xd2800000,        // mov x0, #0
			0xd4000001,        // svc #0
		} {
			code = bits.LittleEndian.AppendUint32(code, word)
		}
	case "amd64":
		machine = 62
		code = append(code, 0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0) // mov eax, 1; mov edi, 1
		code = append(code, 0x48, 0x8d, 0x35, 17, 0, 0, 0)      // lea rsi, [rip+text]
		code = append(code, 0xba, byte(len(text)), 0, 0, 0)     // mov edx, n
		code = append(code, 0x0f, 0x05)                         // syscall
		code = append(code, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0x90)
	default:
		return nil
	}
	program := append(code, text...)
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put := func(values ...any) {
		for _, v := range values {
			_ = bits.Write(&b, bits.LittleEndian, v) // a buffer takes everything
		}
	}
	put(uint16(2), machine, uint32(1), uint64(base+headers), uint64(64), uint64(0), uint32(0))
	put(uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
	size := uint64(headers + len(program))
	put(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000))
	b.Write(program)
	return b.Bytes()
}

// pushall DIR NAME pushes an OCI layout's image, with all its platforms, to
// the script's registry.
func pushAll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pushall DIR NAME")
	}
	cmd := exec.Command("skopeo", "copy", "-q", "--all", "--dest-tls-verify=false",
		"oci:"+ts.MkAbs(args[0]), fmt.Sprintf("docker://%s/%s", ts.Getenv("REGISTRY"), args[1]))
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// emulated says whether programs of FOREIGN can be run here, by a handler of the kernel or by an emulator that builder registers.
func emulated() bool {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[foreign()]
	for _, dir := range []string{"/proc/sys/fs/binfmt_misc", "/etc/binfmt.d", "/usr/lib/binfmt.d"} {
		if found, _ := filepath.Glob(filepath.Join(dir, "qemu-"+machine+"*")); len(found) > 0 {
			return true
		}
	}
	return false
}
