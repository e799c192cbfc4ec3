package tests

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

// cosign HOST/REPOSITORY DIGEST FILE signs an image in a registry by a key of
// sigstore's kind that is made for it, and writes the public key. The signature
// is an artifact beside the image, under a tag that is made of its digest.
func cosign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cosign HOST/REPOSITORY DIGEST FILE")
	}
	repository, image := args[0], digest.Digest(args[1])
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))

	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		repository, image)
	hash := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
	ts.Check(err)
	ts.Check(attach(repository, image, payload, base64.StdEncoding.EncodeToString(signature)))
}

// attach puts a signature beside an image.
func attach(repository string, image digest.Digest, payload []byte, signature string) error {
	host, path, _ := strings.Cut(repository, "/")
	base := "http://" + host + "/v2/" + path
	config := []byte("{}")
	for _, blob := range [][]byte{payload, config} {
		if err := upload(base, blob); err != nil {
			return err
		}
	}
	manifest, err := json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: []v1.Descriptor{{
			MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Digest: digest.FromBytes(payload), Size: int64(len(payload)),
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": signature},
		}},
	})
	if err != nil {
		return err
	}
	tag := strings.Replace(image.String(), ":", "-", 1) + ".sig"
	_, err = request(http.MethodPut, base+"/manifests/"+tag, v1.MediaTypeImageManifest, manifest)
	return err
}

func upload(base string, blob []byte) error {
	place, err := request(http.MethodPost, base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	separator := "?"
	if strings.Contains(place, "?") {
		separator = "&"
	}
	_, err = request(http.MethodPut, place+separator+"digest="+digest.FromBytes(blob).String(), "application/octet-stream", blob)
	return err
}

// request gives the place that a registry answers with.
func request(method, url, mediaType string, body []byte) (place string, err error) {
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s", method, url, answer.Status)
	}
	return answer.Header.Get("Location"), nil
}
