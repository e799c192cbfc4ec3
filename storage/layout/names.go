package layout

import (
	"strings"

	"github.com/distribution/reference"

	"github.com/builder-oci/builder/internal/fault"
)

const (
	defaultDomain = "docker.io"
	officialPath  = "library/"
	defaultTag    = ":latest"
)

// ParseName gives the canonical form of an image's name as a user writes it:
// nginx is docker.io/library/nginx:latest. A name with both tag and digest
// means the digest.
func ParseName(s string) (string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", fault.New("a name looks like nginx, nginx:1.27, quay.io/team/app:v2 or localhost:5000/app",
			"invalid image name %q: %w", s, err)
	}
	if digested, ok := named.(reference.Digested); ok {
		return reference.TrimNamed(named).Name() + "@" + digested.Digest().String(), nil
	}
	return reference.TagNameOnly(named).String(), nil
}

// Familiar gives the form of a canonical name that docker shows: nginx:latest
// for docker.io/library/nginx:latest. The empty name stays empty.
func Familiar(canonical string) string {
	rest, found := strings.CutPrefix(canonical, defaultDomain+"/")
	if !found {
		return canonical
	}
	if short, official := strings.CutPrefix(rest, officialPath); official && canonicalName(short) == canonical {
		return short
	}
	if canonicalName(rest) == canonical {
		return rest
	}
	return canonical
}

// canonicalName is ParseName for what stands in index.json: it takes everything
// and is fast enough for ten thousand names, which regular expressions are not.
func canonicalName(ref string) string {
	name, suffix := splitName(ref)
	domain, path := defaultDomain, name
	if first, rest, ok := strings.Cut(name, "/"); ok && isDomain(first) {
		domain, path = first, rest
		if suffix != "" && !strings.HasSuffix(domain, defaultDomain) {
			return ref
		}
	}
	if domain == "index."+defaultDomain {
		domain = defaultDomain
	}
	if domain == defaultDomain && !strings.Contains(path, "/") {
		path = officialPath + path
	}
	if suffix == "" {
		suffix = defaultTag
	}
	return domain + "/" + path + suffix
}

// isDomain tells a registry's host from the first part of a path on the default
// registry.
func isDomain(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || strings.ToLower(s) != s
}

// splitName parts a name from its tag or digest, which keeps its ':' or '@'.
func splitName(ref string) (name, suffix string) {
	if at := strings.IndexByte(ref, '@'); at >= 0 {
		return ref[:at], ref[at:]
	}
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon], ref[colon:]
	}
	return ref, ""
}
