package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// badArchives are forms that no tool should write.
var badArchives = map[string]func(*archiveWriter){
	"climbing": func(w *archiveWriter) { w.file("../evil", []byte("x")) },
	"absolute": func(w *archiveWriter) { w.file("/tmp/evil", []byte("x")) },
	"symlink-out": func(w *archiveWriter) {
		w.link("c.json", "../../../../etc/passwd")
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"symlink-absolute": func(w *archiveWriter) {
		w.link("c.json", "/etc/passwd")
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"hardlink-out": func(w *archiveWriter) {
		w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "c.json", Linkname: "../evil"}))
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"link-circle": func(w *archiveWriter) {
		w.link("c.json", "d.json")
		w.link("d.json", "c.json")
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"twice": func(w *archiveWriter) {
		w.file("c.json", []byte("{}"))
		w.file("c.json", theConfig())
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"manifest-twice": func(w *archiveWriter) {
		w.object("manifest.json", []dockerItem{})
		w.dockerOCI(false, []string{"old:v1"})
	},
	"same-twice": func(w *archiveWriter) {
		w.dockerOCI(false, []string{"old:v1"})
		w.blob(theConfig())
	},
	"no-layer": func(w *archiveWriter) {
		w.file("c.json", theConfig())
		w.object("manifest.json", []dockerItem{{Config: "c.json", Layers: []string{"lower.tar", "upper.tar"}}})
	},
	"no-blob": func(w *archiveWriter) {
		manifest := theManifest(theConfig(), theLayers())
		w.blob(theConfig())
		w.blob(manifest)
		w.blob(theLayers()[0])
		w.layout(manifest)
	},
	"wrong-size": func(w *archiveWriter) {
		config := theConfig()
		manifest := bytes.Replace(theManifest(config, theLayers()), fmt.Appendf(nil, `"size":%d}]`, len(theLayers()[1])), []byte(`"size":7}]`), 1)
		w.blob(config)
		for _, data := range append(theLayers(), manifest) {
			w.blob(data)
		}
		w.layout(manifest)
	},
	"wrong-digest": func(w *archiveWriter) { w.file(blobPath([]byte("one")), []byte("two")) },
	"wrong-diffid": func(w *archiveWriter) {
		w.file("c.json", configOf([]digest.Digest{digest.FromString("another")}))
		w.file("l.tar", theLayers()[0])
		w.object("manifest.json", []dockerItem{{Config: "c.json", Layers: []string{"l.tar"}}})
	},
	"wrong-count": func(w *archiveWriter) {
		w.file("c.json", theConfig())
		w.file("l.tar", theLayers()[0])
		w.object("manifest.json", []dockerItem{{Config: "c.json", Layers: []string{"l.tar"}}})
	},
	"bad-name": func(w *archiveWriter) {
		w.file("c.json", configOf(nil))
		w.object("manifest.json", []dockerItem{{Config: "c.json", RepoTags: []string{"../Evil\x1b[31m:v1"}}})
	},
	// A header that promises more than any disk has.
	"huge-size": func(w *archiveWriter) {
		w.note(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "l.tar", Size: 1 << 60, Mode: 0o644, Format: tar.FormatGNU}))
		w.cut = true
	},
	"huge-config": func(w *archiveWriter) {
		w.file("c.json", append([]byte(`{"os":"linux","architecture":"amd64","author":"`+strings.Repeat("x", 100<<20)), `"}`...))
		w.object("manifest.json", []dockerItem{{Config: "c.json"}})
	},
	"huge-manifest": func(w *archiveWriter) { w.file("manifest.json", bytes.Repeat([]byte(" "), 100<<20)) },
	"huge-index": func(w *archiveWriter) {
		w.file("oci-layout", []byte("{}"))
		w.file("index.json", append([]byte(`{"manifests":[{}`), strings.Repeat(",{}", 1<<20)+"]}"...))
	},
	"many-layers": func(w *archiveWriter) {
		empty := treeTar(nil)
		var layers []string
		var diffIDs []digest.Digest
		for i := range 10_000 {
			name := fmt.Sprintf("%064x/layer.tar", i)
			w.file(name, empty)
			layers, diffIDs = append(layers, name), append(diffIDs, digest.FromBytes(empty))
		}
		w.file("c.json", configOf(diffIDs))
		w.object("manifest.json", []dockerItem{{Config: "c.json", Layers: layers}})
	},
	"many-names": func(w *archiveWriter) {
		var tags []string
		for i := range 100_000 {
			tags = append(tags, fmt.Sprintf("x:%d", i))
		}
		w.file("c.json", configOf(nil))
		w.object("manifest.json", []dockerItem{{Config: "c.json", RepoTags: tags}})
	},
	"many-images": func(w *archiveWriter) {
		var list []dockerItem
		for i := range 1001 {
			name := fmt.Sprintf("%d.json", i)
			w.file(name, bytes.Replace(configOf(nil), []byte("A=b"), fmt.Appendf(nil, "A=%d", i), 1))
			list = append(list, dockerItem{Config: name, RepoTags: []string{fmt.Sprintf("x:%d", i)}})
		}
		w.object("manifest.json", list)
	},
	"many-entries": func(w *archiveWriter) {
		for i := range 100_001 {
			w.link(fmt.Sprint(i), "x")
		}
	},
	"endless-parents": func(w *archiveWriter) {
		id := legacyID("upper")
		w.object(id+"/json", map[string]any{"parent": id})
		w.file(id+"/layer.tar", theLayers()[0])
		w.object("repositories", map[string]any{"old": map[string]string{"v1": id}})
	},
}

// layout writes what makes an OCI layout of one image.
func (w *archiveWriter) layout(manifest []byte) {
	w.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	w.object("index.json", map[string]any{
		"schemaVersion": 2, "manifests": []any{descriptor("application/vnd.oci.image.manifest.v1+json", manifest)},
	})
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
