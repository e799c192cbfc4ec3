package tests

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// archive FORM FILE writes an archive of images as a tool has once written it:
// see archiveForms. Each holds the image old:v1 of two layers, the upper with
// /upper, for amd64 on linux, with the environment A=b.
func archive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: archive FORM FILE")
	}
	form, ok := archiveForms[args[0]]
	if !ok {
		form, ok = badArchives[args[0]]
	}
	if !ok {
		ts.Fatalf("unknown form %q", args[0])
	}
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	w := archiveWriter{Writer: tar.NewWriter(f)}
	form(&w)
	if !w.cut {
		w.note(w.Close())
	}
	ts.Check(errors.Join(w.err, f.Close()))
}

// archiveForms are the forms of archives, by what writes them.
var archiveForms = map[string]func(*archiveWriter){
	// Docker before 1.10: an image for each layer.
	"docker-1.8": func(w *archiveWriter) {
		w.legacyLayers()
		w.object("repositories", map[string]any{"old": map[string]string{"v1": legacyID("upper")}})
	},
	// docker save ID of the same.
	"docker-1.8-id": (*archiveWriter).legacyLayers,
	// Docker 1.10 to 24: manifest.json beside it, and a layer that occurs twice
	// is a link.
	"docker-1.10": func(w *archiveWriter) {
		w.legacyLayers()
		w.file(configHex()+".json", theConfig())
		w.object("manifest.json", []dockerItem{{
			Config: configHex() + ".json", RepoTags: []string{"old:v1"},
			Layers: []string{legacyID("lower") + "/layer.tar", legacyID("upper") + "/layer.tar"},
		}})
		w.object("repositories", map[string]any{"old": map[string]string{"v1": legacyID("upper")}})
	},
	"docker-20-linked": func(w *archiveWriter) {
		for i, id := range []string{"lower", "upper"} {
			shared := digest.FromBytes(theLayers()[i]).Encoded() + ".tar"
			w.file(legacyID(id)+"/VERSION", []byte("1.0"))
			w.link(legacyID(id)+"/layer.tar", "../"+shared)
			w.file(shared, theLayers()[i])
		}
		w.file(configHex()+".json", theConfig())
		w.object("manifest.json", []dockerItem{{
			Config: configHex() + ".json", RepoTags: []string{"old:v1", "<none>:<none>"},
			Layers: []string{legacyID("lower") + "/layer.tar", legacyID("upper") + "/layer.tar"},
		}})
	},
	// Docker 25.0: the OCI manifests list no layers, and images that were saved
	// by id stand in manifest.json alone.
	"docker-25.0": func(w *archiveWriter) { w.dockerOCI(true, []string{"old:v1"}) },
	"docker-25.0-id": func(w *archiveWriter) {
		w.dockerOCI(true, nil)
	},
	"docker-28": func(w *archiveWriter) { w.dockerOCI(false, []string{"old:v1"}) },
	// Docker with containerd's store, and BuildKit with attestations: index.json
	// names an index.
	"containerd": func(w *archiveWriter) {
		w.ociIndex()
		w.object("manifest.json", []dockerItem{{Config: blobPath(theConfig()), RepoTags: []string{"old:v1"}, Layers: layerPaths()}})
	},
	"buildkit-oci": (*archiveWriter).ociIndex,
	// buildx -o type=oci for two platforms.
	"two-platforms": func(w *archiveWriter) {
		const mediaType = "application/vnd.oci.image.manifest.v1+json"
		other := bytes.Replace(theConfig(), []byte("amd64"), []byte("s390x"), 1)
		var list []any
		for arch, config := range map[string][]byte{"amd64": theConfig(), "s390x": other} {
			manifest := theManifest(config, theLayers())
			d := descriptor(mediaType, manifest)
			d["platform"] = map[string]string{"os": "linux", "architecture": arch}
			list = append(list, d)
			w.blob(config)
			w.blob(manifest)
		}
		for _, data := range theLayers() {
			w.blob(data)
		}
		w.index(list...)
	},
	// kaniko, crane, jib: layers compressed, under any name.
	"crane": func(w *archiveWriter) {
		w.file("sha256:"+configHex(), theConfig())
		var names []string
		for _, data := range theLayers() {
			packed := gzipped(data)
			name := digest.FromBytes(packed).Encoded() + ".tar.gz"
			w.file(name, packed)
			names = append(names, name)
		}
		w.object("manifest.json", []dockerItem{{Config: "sha256:" + configHex(), RepoTags: []string{"old:v1"}, Layers: names}})
	},
}

// dockerItem is one image of docker's manifest.json.
type dockerItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// archiveWriter writes entries, and keeps the first error.
type archiveWriter struct {
	*tar.Writer
	err error
	cut bool // there is no end to be written
}

func (w *archiveWriter) note(err error) { w.err = errors.Join(w.err, err) }

func (w *archiveWriter) file(name string, data []byte) {
	w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}))
	_, err := w.Write(data)
	w.note(err)
}

func (w *archiveWriter) object(name string, value any) {
	data, err := json.Marshal(value)
	w.note(err)
	w.file(name, data)
}

func (w *archiveWriter) link(name, target string) {
	w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}))
}

func (w *archiveWriter) legacyLayers() {
	for i, id := range []string{"lower", "upper"} {
		image := map[string]any{
			"id": legacyID(id), "created": "2015-10-01T12:00:00Z", "architecture": "amd64", "os": "linux",
			"container_config": map[string]any{"Cmd": []string{"/bin/sh", "-c", "make " + id}},
			"config":           map[string]any{"Env": []string{"A=b"}}, "docker_version": "1.8.3",
		}
		if i > 0 {
			image["parent"] = legacyID("lower")
		}
		w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: legacyID(id) + "/", Mode: 0o755}))
		w.file(legacyID(id)+"/VERSION", []byte("1.0"))
		w.object(legacyID(id)+"/json", image)
		w.file(legacyID(id)+"/layer.tar", theLayers()[i])
	}
}

// dockerOCI is docker's form since version 25.
func (w *archiveWriter) dockerOCI(withoutLayers bool, names []string) {
	layers := theLayers()
	w.blob(theConfig())
	for _, data := range layers {
		w.blob(data)
	}
	if withoutLayers {
		layers = nil
	}
	manifest := theManifest(theConfig(), layers)
	w.blob(manifest)
	list := []any{}
	for _, name := range names {
		d := descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
		d["annotations"] = map[string]string{"io.containerd.image.name": "docker.io/library/" + name, "org.opencontainers.image.ref.name": "v1"}
		list = append(list, d)
	}
	w.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	w.object("index.json", map[string]any{"schemaVersion": 2, "manifests": list})
	w.object("manifest.json", []dockerItem{{Config: blobPath(theConfig()), RepoTags: names, Layers: layerPaths()}})
	w.object("repositories", map[string]any{"old": map[string]string{"v1": digest.FromBytes(theLayers()[1]).Encoded()}})
}

// ociIndex is an OCI layout of an index of two platforms, of which one is here,
// and an attestation.
func (w *archiveWriter) ociIndex() {
	manifest := theManifest(theConfig(), theLayers())
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)
	noted := theManifest([]byte(`{"os":"unknown","architecture":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`), [][]byte{statement})
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	here, away, attested := descriptor(mediaType, manifest), descriptor(mediaType, []byte("elsewhere")), descriptor(mediaType, noted)
	here["platform"] = map[string]string{"os": "linux", "architecture": "amd64"}
	away["platform"] = map[string]string{"os": "linux", "architecture": "s390x"}
	attested["platform"] = map[string]string{"os": "unknown", "architecture": "unknown"}
	for _, data := range append(theLayers(), theConfig(), manifest, noted, statement) {
		w.blob(data)
	}
	w.index(away, attested, here)
}

// index writes an index and what names it.
func (w *archiveWriter) index(manifests ...any) {
	const mediaType = "application/vnd.oci.image.index.v1+json"
	index := marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "manifests": manifests})
	w.blob(index)
	d := descriptor(mediaType, index)
	d["annotations"] = map[string]string{"io.containerd.image.name": "docker.io/library/old:v1", "org.opencontainers.image.ref.name": "v1"}
	w.object("index.json", map[string]any{"schemaVersion": 2, "manifests": []any{d}})
	w.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func (w *archiveWriter) blob(data []byte) { w.file(blobPath(data), data) }

func blobPath(data []byte) string { return "blobs/sha256/" + digest.FromBytes(data).Encoded() }

func layerPaths() []string {
	var paths []string
	for _, data := range theLayers() {
		paths = append(paths, blobPath(data))
	}
	return paths
}

func descriptor(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest.FromBytes(data), "size": len(data)}
}

func theManifest(config []byte, layers [][]byte) []byte {
	list := []any{}
	for _, data := range layers {
		list = append(list, descriptor("application/vnd.oci.image.layer.v1.tar", data))
	}
	return marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("application/vnd.oci.image.config.v1+json", config), "layers": list,
	})
}

func theConfig() []byte {
	var diffIDs []digest.Digest
	for _, data := range theLayers() {
		diffIDs = append(diffIDs, digest.FromBytes(data))
	}
	return configOf(diffIDs)
}

func configOf(diffIDs []digest.Digest) []byte {
	return marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2015-10-01T12:00:00Z",
		"config": map[string]any{"Env": []string{"A=b"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
}

func configHex() string { return digest.FromBytes(theConfig()).Encoded() }

// legacyID is an id of docker before 1.10, which was a random one.
func legacyID(name string) string { return digest.FromString(name).Encoded() }

// theLayers are those of the image, base first.
func theLayers() [][]byte {
	return [][]byte{
		treeTar(map[string]string{"lower": "from below\n", "etc/motd": "welcome\n"}),
		treeTar(map[string]string{"upper": "from above\n"}),
	}
}

func treeTar(files map[string]string) []byte {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var b bytes.Buffer
	w := archiveWriter{Writer: tar.NewWriter(&b)}
	for _, name := range names {
		if dir, _, ok := strings.Cut(name, "/"); ok {
			w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}))
		}
		w.file(name, []byte(files[name]))
	}
	w.note(w.Close())
	if w.err != nil {
		panic(w.err)
	}
	return b.Bytes()
}

// marshal is for values that are known to have a form.
func marshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("%v: %v", value, err))
	}
	return data
}
