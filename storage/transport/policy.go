package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"

	"github.com/builder-oci/builder/internal/fault"
)

// Policy files, as containers-policy.json(5) has them. A user's own takes the
// place of the system's as a whole.
const (
	userPolicy   = ".config/containers/policy.json"
	systemPolicy = "/etc/containers/policy.json"
)

// allowed asks policy.json whether an image may come into the store, and checks
// the signatures that it wants. Where there is no such file every image may, as
// docker has it. name is how the user called the image.
func (o Options) allowed(ctx context.Context, image types.UnparsedImage, name string) (err error) {
	file := o.policyFile()
	if file == "" {
		return nil
	}
	policy, err := signature.NewPolicyFromFile(file)
	if err != nil {
		return fault.New("mend or remove "+file+"; its form: man containers-policy.json", "the rules about images: %w", err)
	}
	rules, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rules.Destroy()) }()
	if ok, err := rules.IsRunningImageAllowed(ctx, image); !ok || err != nil {
		scope, types := ruleFor(policy, image.Reference())
		return fault.New(fmt.Sprintf("the rule is %s in %s: %s", scope, file, types), "%s is not allowed by policy: %w", name, err)
	}
	return nil
}

// policyFile is the policy.json that counts, or "" where there is none.
func (o Options) policyFile() string {
	if o.PolicyFile != "" {
		return o.PolicyFile
	}
	for _, file := range []string{filepath.Join(os.Getenv("HOME"), userPolicy), systemPolicy} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file
		}
	}
	return ""
}

// ruleFor says which part of a policy is about an image, and what it asks. The
// narrowest counts: the image's own, its repository's and so on, the
// transport's, and then the default.
func ruleFor(policy *signature.Policy, ref types.ImageReference) (scope, types string) {
	transport := ref.Transport().Name()
	scopes := append([]string{ref.PolicyConfigurationIdentity()}, ref.PolicyConfigurationNamespaces()...)
	for _, s := range append(scopes, "") {
		if asks, ok := policy.Transports[transport][s]; ok {
			return fmt.Sprintf("transports.%s.%q", transport, s), typesOf(asks)
		}
	}
	return "default", typesOf(policy.Default)
}

// typesOf are the types of requirements, which the library keeps to itself.
func typesOf(asks signature.PolicyRequirements) string {
	var names []string
	for _, ask := range asks {
		var common struct{ Type string }
		text, err := json.Marshal(ask)
		if err == nil && json.Unmarshal(text, &common) == nil {
			names = append(names, common.Type)
		}
	}
	return strings.Join(names, ", ")
}

// acceptAll is the policy of images on their way out.
func acceptAll() *signature.Policy {
	return &signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}}
}

// allowedUnsigned is allowed for an image that is read without the library, from
// where there are no signatures.
func (o Options) allowedUnsigned(ctx context.Context, ref types.ImageReference, manifest []byte, mediaType, name string) error {
	return o.allowed(ctx, unsigned{ref, manifest, mediaType}, name)
}

// unsigned is an image without signatures.
type unsigned struct {
	ref       types.ImageReference
	manifest  []byte
	mediaType string
}

func (u unsigned) Reference() types.ImageReference { return u.ref }
func (u unsigned) Manifest(context.Context) ([]byte, string, error) {
	return u.manifest, u.mediaType, nil
}
func (u unsigned) Signatures(context.Context) (signatures [][]byte, _ error) { return nil, nil }

// place is a reference that policies know by its transport alone. What the
// library never asks of such a one it doesn't have.
type place struct {
	types.ImageReference
	transport string
}

func (p place) Transport() types.ImageTransport         { return placeTransport{name: p.transport} }
func (p place) PolicyConfigurationIdentity() string     { return "" }
func (p place) PolicyConfigurationNamespaces() []string { return nil }
func (p place) StringWithinTransport() string           { return "" }
func (p place) DockerReference() reference.Named        { return nil }

type placeTransport struct {
	types.ImageTransport
	name string
}

func (t placeTransport) Name() string { return t.name }
