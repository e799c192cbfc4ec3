package layout

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// ParsePlatform reads OS/ARCH[/VARIANT]. Empty stands for this machine's.
func ParsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		return v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return v1.Platform{}, fault.New("a platform looks like linux/amd64 or linux/arm/v7", "invalid platform %q", s)
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// Resolve gives the image manifest that a descriptor means: itself, or of an
// index the one that suits the platform (or else the first that is here), along
// with the index.
func (l *Layout) Resolve(target v1.Descriptor, platform v1.Platform) (manifest v1.Descriptor, multi *v1.Descriptor, err error) {
	plain := v1.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	if !isIndex(target.MediaType) {
		return plain, nil, nil
	}
	data, err := l.ReadBlob(target.Digest)
	if err != nil {
		return manifest, nil, err
	}
	var index v1.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return manifest, nil, fmt.Errorf("index %s: %w", target.Digest, err)
	}
	found := false
	for _, m := range index.Manifests {
		if !l.HasBlob(m.Digest, m.Size) || m.Platform != nil && m.Platform.OS == "unknown" {
			continue // of another platform, or an attestation
		}
		suits := matches(m.Platform, platform)
		if suits || !found {
			manifest = v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
			found = true
		}
		if suits {
			break
		}
	}
	if !found {
		return manifest, nil, fmt.Errorf("%w: every manifest of index %s", ErrAbsent, target.Digest)
	}
	return manifest, &plain, nil
}

func matches(p *v1.Platform, want v1.Platform) bool {
	return p != nil && p.OS == want.OS && p.Architecture == want.Architecture &&
		(want.Variant == "" || p.Variant == want.Variant)
}
