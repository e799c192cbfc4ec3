package kaniko

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
)

// DigestFiles are paths of files, each of which may be "", for the digest alone,
// for NAME@DIGEST and for NAME:TAG@DIGEST of each destination. Output is a directory
// where Google's Cloud Build wants to find a file named images.
type DigestFiles struct{ Digest, Name, NameTag, Output string }

func (f DigestFiles) check() error {
	for _, path := range []string{f.Digest, f.Name, f.NameTag} {
		if strings.HasPrefix(path, "https://") {
			return fault.New("name a file, and send that", "%s: a digest is written to a file", path)
		}
	}
	return nil
}

// Write writes them for an image that was made under these names.
func (f DigestFiles) Write(d digest.Digest, names []string) error {
	var with, withTag, output bytes.Buffer
	encoder := json.NewEncoder(&output)
	for _, name := range names {
		repository, tag, err := inFull(name)
		if err != nil {
			return err
		}
		with.WriteString(repository + "@" + d.String() + "\n")
		withTag.WriteString(repository + ":" + tag + "@" + d.String() + "\n")
		if err := encoder.Encode(struct {
			Name   string        `json:"name"`
			Digest digest.Digest `json:"digest"`
		}{name, d}); err != nil {
			return err
		}
	}
	for _, file := range []struct {
		path string
		text []byte
	}{{f.Digest, []byte(d)}, {f.Name, with.Bytes()}, {f.NameTag, withTag.Bytes()}, {f.images(), output.Bytes()}} {
		if file.path == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file.path), 0o700); err != nil {
			return err
		}
		// Not by rename: it may be a device, or mounted, as /dev/termination-log is.
		if err := os.WriteFile(file.path, file.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// images is the file's path in Output, or "".
func (f DigestFiles) images() string {
	if f.Output == "" {
		return ""
	}
	return filepath.Join(f.Output, "images")
}

// inFull is a name as kaniko writes it: docker's registry is index.docker.io there.
func inFull(name string) (repository, tag string, err error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", "", err
	}
	domain := reference.Domain(named)
	if domain == dockers {
		domain = "index." + dockers
	}
	tag = "latest"
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	return domain + "/" + reference.Path(named), tag, nil
}
