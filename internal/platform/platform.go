// Package platform reads, compares and writes the platforms that images are
// for, as containerd does: "linux/arm64/v8" is linux/arm64, an arm machine of
// version 7 runs what is made for version 6, amd64 what is made for 386.
package platform

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
)

// linux is the only system that images are built for.
const linux = "linux"

// architectures are those that Linux images are made for.
var architectures = []string{
	"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle",
	"ppc64", "ppc64le", "riscv64", "s390x",
}

// Here is this machine's.
func Here() v1.Platform { return platforms.Normalize(platforms.DefaultSpec()) }

// Parse reads OS[/ARCH[/VARIANT]] or an architecture alone, and gives it in its
// usual form. What isn't said is as it is here; "" and "local" are this machine's.
func Parse(text string) (v1.Platform, error) {
	if text == "" || strings.EqualFold(text, "local") {
		return Here(), nil
	}
	p, err := platforms.Parse(text)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fault.New(howToWrite, "bad platform %q", text)
	}
	return platforms.Normalize(p), nil
}

const howToWrite = "write it as OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7"

// ParseLinux is Parse for what is to be built: Linux on an architecture that
// there is.
func ParseLinux(text string) (v1.Platform, error) {
	p, err := Parse(text)
	switch {
	case err != nil:
		return p, err
	case p.OS != linux:
		return p, fault.New("choose a platform of linux, such as linux/"+Here().Architecture,
			"bad platform %q: builder builds images for linux only, since instructions run on the kernel of this machine", text)
	case !slices.Contains(architectures, p.Architecture):
		return p, fault.New("choose one of "+strings.Join(architectures, ", "),
			"bad platform %q: %s is no architecture of linux", text, p.Architecture)
	}
	return p, nil
}

// Normalize gives a platform its usual form.
func Normalize(p v1.Platform) v1.Platform { return platforms.Normalize(p) }

// Name is how a platform is written: "linux/arm/v7".
func Name(p v1.Platform) string { return platforms.FormatAll(platforms.Normalize(p)) }

// IsHere says whether a platform is this machine's own.
func IsHere(p v1.Platform) bool { return Name(p) == Name(Here()) }

// Serves says whether what is made for have is fit for want: it is the same, or
// an older variant or, on amd64 and arm64, the 32-bit architecture.
func Serves(have, want v1.Platform) bool { return platforms.Only(want).Match(have) }

// Choose gives the manifest of a multi-platform index that serves want best, or
// else the first that doesn't say what it serves. It is false where none does.
func Choose(manifests []v1.Descriptor, want v1.Platform) (best v1.Descriptor, found bool) {
	order := platforms.Only(want)
	for _, m := range manifests {
		if m.Platform == nil || !order.Match(*m.Platform) {
			continue
		}
		if !found || order.Less(*m.Platform, *best.Platform) {
			best, found = m, true
		}
	}
	if found {
		return best, true
	}
	for _, m := range manifests {
		if m.Platform == nil {
			return m, true
		}
	}
	return best, false
}

// Names lists the platforms of an index.
func Names(manifests []v1.Descriptor) []string {
	var names []string
	for _, m := range manifests {
		if m.Platform != nil && !IsAttestation(m) {
			names = append(names, Name(*m.Platform))
		}
	}
	return names
}

// IsAttestation tells what BuildKit puts into an index beside the images.
func IsAttestation(m v1.Descriptor) bool { return m.Platform != nil && m.Platform.OS == "unknown" }
