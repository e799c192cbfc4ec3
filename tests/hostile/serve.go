package hostile

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// serve is a well-behaved registry, as far as reading goes (OCI distribution
// specification, "Pull" and "Content discovery").
func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	switch {
	case path == "":
		_, _ = w.Write([]byte("{}"))
	case strings.HasSuffix(path, "/tags/list"):
		r.serveTags(w, strings.TrimSuffix(path, "/tags/list"))
	case strings.Contains(path, "/manifests/"):
		r.serveManifest(w, path)
	case strings.Contains(path, "/blobs/"):
		r.serveBlob(w, q, path)
	default:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
	}
}

func (r *Registry) serveTags(w http.ResponseWriter, repository string) {
	var tags []string
	r.mu.Lock()
	for ref := range r.manifests {
		if tag, ok := strings.CutPrefix(ref, repository+"/manifests/"); ok && !strings.HasPrefix(tag, "sha256:") {
			tags = append(tags, tag)
		}
	}
	r.mu.Unlock()
	if tags == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	slices.Sort(tags)
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
}

func (r *Registry) serveManifest(w http.ResponseWriter, path string) {
	r.mu.Lock()
	m, ok := r.manifests[path]
	r.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	w.Header().Set("Content-Type", m.mediaType)
	_, _ = w.Write(m.content)
}

func (r *Registry) serveBlob(w http.ResponseWriter, q *http.Request, path string) {
	_, digest, _ := strings.Cut(path, "/blobs/")
	r.mu.Lock()
	content, ok := r.blobs[digest]
	r.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(content)) // knows ranges
}

// refuse answers by an error as the specification has them.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
