package conformance

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is one of an OCI layout, read without builder's own packages.
type image struct {
	manifest digest.Digest
	config   struct {
		Config  map[string]json.RawMessage `json:"config"`
		History []v1.History               `json:"history"`
	}
	top    map[string]json.RawMessage
	layers []v1.Descriptor
}

// String tells images apart.
func (i *image) String() string {
	text := i.manifest.String()
	for _, l := range i.layers {
		text += fmt.Sprintf("\nlayer %s of %d bytes", l.Digest, l.Size)
	}
	for _, h := range i.config.History {
		text += fmt.Sprintf("\n%s %s %q empty=%v", h.Created, h.Comment, h.CreatedBy, h.EmptyLayer)
	}
	return text
}

// layout is the directory of an OCI image layout.
type layout string

// find reads the image of a name.
func (l layout) find(name string) (*image, error) {
	var index v1.Index
	if err := readJSON(filepath.Join(string(l), "index.json"), &index); err != nil {
		return nil, err
	}
	for _, d := range index.Manifests {
		if d.Annotations[v1.AnnotationRefName] == name {
			return l.read(d.Digest)
		}
	}
	return nil, fmt.Errorf("no image is called %s", name)
}

func (l layout) read(manifest digest.Digest) (*image, error) {
	var m v1.Manifest
	if err := readJSON(l.blob(manifest), &m); err != nil {
		return nil, err
	}
	img := &image{manifest: manifest, layers: m.Layers}
	return img, errors.Join(readJSON(l.blob(m.Config.Digest), &img.config), readJSON(l.blob(m.Config.Digest), &img.top))
}

func (l layout) blob(d digest.Digest) string {
	return filepath.Join(string(l), "blobs", d.Algorithm().String(), d.Encoded())
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// tree has a line for each path.
type tree map[string]string

// apply puts a layer upon the tree.
func (l layout) apply(t tree, layer v1.Descriptor) error {
	f, err := os.Open(l.blob(layer.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	stream := io.Reader(f)
	if layer.MediaType == v1.MediaTypeImageLayerGzip {
		if stream, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.add(h, r); err != nil {
			return err
		}
	}
}

func (t tree) add(h *tar.Header, content io.Reader) error {
	name := path.Join("/", h.Name)
	dir, base := path.Split(name)
	if base == ".wh..wh..opq" {
		t.remove(path.Clean(dir), false)
		return nil
	}
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		t.remove(path.Join(dir, hidden), true)
		return nil
	}
	if h.Typeflag != tar.TypeDir {
		t.remove(name, true)
	}
	mode := h.FileInfo().Mode()
	line := fmt.Sprintf("%s %d:%d", unixMode(mode), h.Uid, h.Gid)
	switch h.Typeflag {
	case tar.TypeLink:
		t[name] = t[path.Join("/", h.Linkname)]
		return nil
	case tar.TypeSymlink:
		t[name] = line + " -> " + h.Linkname
		return nil
	case tar.TypeReg:
		data, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if len(data) > 200 {
			data = fmt.Appendf(nil, "%d bytes, %s", len(data), digest.FromBytes(data))
		}
		line += fmt.Sprintf(" %q", data)
	}
	t[name] = line
	return nil
}

func (t tree) remove(name string, itself bool) {
	for p := range t {
		if strings.HasPrefix(p, strings.TrimSuffix(name, "/")+"/") || itself && p == name {
			delete(t, p)
		}
	}
}

// unixMode writes a mode as ls does.
func unixMode(m fs.FileMode) string {
	text := []byte(m.Perm().String())
	switch {
	case m.IsDir():
		text[0] = 'd'
	case m&fs.ModeSymlink != 0:
		text[0] = 'l'
	case m&fs.ModeNamedPipe != 0:
		text[0] = 'p'
	}
	for bit, at := range map[fs.FileMode]int{fs.ModeSetuid: 3, fs.ModeSetgid: 6, fs.ModeSticky: 9} {
		if m&bit == 0 {
			continue
		}
		letter := byte('s')
		if bit == fs.ModeSticky {
			letter = 't'
		}
		if text[at] == '-' {
			letter -= 'a' - 'A'
		}
		text[at] = letter
	}
	return string(text)
}

// lines gives what differs from another tree, by path.
func (t tree) lines(base tree) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if name == "/" || base[name] == t[name] {
			continue
		}
		mode, rest, _ := strings.Cut(t[name], " ")
		owner, rest, _ := strings.Cut(rest, " ")
		list = append(list, strings.TrimSpace(strings.Join([]string{mode, owner, name, rest}, " ")))
	}
	for _, name := range slices.Sorted(maps.Keys(base)) {
		if _, kept := t[name]; !kept {
			list = append(list, "gone "+name)
		}
	}
	return list
}
