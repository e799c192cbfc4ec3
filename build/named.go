package build

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// namedContext is what --build-context gives a name to. One of the fields but
// name is set.
type namedContext struct {
	name   string
	image  string         // an image's name, or scratch
	source string         // an image elsewhere on disk, as transport.Source writes it
	target string         // a stage of this Dockerfile
	files  *contextSource // a directory, or what is fetched into one
}

// schemes are what a value may begin with besides the addresses that are
// fetched. docker:// and container-image:// are buildah's.
var schemes = map[string]func(c *namedContext, rest string){
	"docker-image://":    func(c *namedContext, rest string) { c.image = rest },
	"container-image://": func(c *namedContext, rest string) { c.image = rest },
	"docker://":          func(c *namedContext, rest string) { c.image = rest },
	"oci-layout://":      func(c *namedContext, rest string) { c.source = "oci:" + rest },
	"target:":            func(c *namedContext, rest string) { c.target = rest },
}

// nameContexts reads the named contexts and gives those that are stages, and
// the names of all others, to the parser of the Dockerfile.
func (b *build) nameContexts() (forParser map[string]string, err error) {
	b.contexts, forParser = map[string]*namedContext{}, map[string]string{}
	for _, given := range slices.Sorted(maps.Keys(b.o.Contexts)) {
		name := dockerfile.ContextName(given)
		if name == "" {
			return nil, fault.New("name it as an image is named, in lower case", "--build-context: %q can't be the name of a context", given)
		}
		c, err := b.nameContext(given, b.o.Contexts[given])
		if err != nil {
			return nil, err
		}
		b.contexts[name], forParser[name] = c, c.target
	}
	return forParser, nil
}

func (b *build) nameContext(name, value string) (*namedContext, error) {
	c := &namedContext{name: name}
	for scheme, set := range schemes {
		if rest, ok := strings.CutPrefix(value, scheme); ok && rest != "" {
			set(c, rest)
			return c, nil
		}
	}
	if _, elsewhere := transport.ParseSource(value); elsewhere {
		c.source = value
		return c, nil
	}
	if st, err := os.Stat(value); err == nil && st.IsDir() {
		c.files = newContextSource(func() (*contextFiles, error) { return b.openContext(localContext(value)) })
		return c, nil
	}
	if value != buildcontext.Stdin && buildcontext.IsRemote(value) {
		c.files = newContextSource(func() (*contextFiles, error) {
			fetched, err := b.fetch(b.ctx, value, buildcontext.Fetcher.FetchFile)
			if err != nil {
				return nil, err
			}
			return b.openContext(fetchedContext(fetched.Dir))
		})
		return c, nil
	}
	return nil, fault.New("give a directory, an address, docker-image://NAME, oci-layout://DIR, docker-archive:FILE or target:STAGE",
		"--build-context %s=%s: there is no such directory", name, value)
}

// named gives the context of a name, if there is one. Of those that are stages
// the parser has found the circular ones.
func (b *build) named(name string) *namedContext {
	c := b.contexts[dockerfile.ContextName(name)]
	for c != nil && c.target != "" {
		c = b.contexts[dockerfile.ContextName(c.target)]
	}
	return c
}

// sourceNamed is what COPY --from and the mounts of RUN mean by a name that is
// no stage: a named context, or else an image.
func (b *build) sourceNamed(name string) stage.Source {
	if c := b.named(name); c != nil && c.files != nil {
		return c.files
	}
	return imageSource{b, b.fromElsewhere(name)}
}

// namedImage gives the image that a context is. Outside a namespace one that
// lies elsewhere on disk isn't there.
func (b *build) namedImage(ctx context.Context, c *namedContext, w wanted, coming func()) (layout.Image, error) {
	if c.source == "" {
		return b.storedImage(ctx, wanted{c.image, w.platform}, coming)
	}
	if b.env.Adopt == nil {
		return layout.Image{}, ErrNamespace
	}
	return b.env.Adopt(ctx, c.source, w.asked())
}

// fromFiles gives the state of a stage that begins with a context's files, as
// if they had been copied into an empty image.
func (b *build) fromFiles(ctx context.Context, c *namedContext, s *dockerfile.Stage, r *stage.Runner) (*stage.State, error) {
	st := stage.Scratch(emptyConfig(s.Platform))
	quiet := *r
	quiet.Report = func(Event) {}
	err := quiet.Step(ctx, &st, stage.Copy{
		Verb: "COPY", From: c.files, Sources: []string{"."}, Dest: "/",
		Instruction: "FROM " + c.name, CreatedBy: "FROM " + c.name,
	}, b.at(s, -1))
	return &st, err
}

// closeContexts keeps what is to be remembered of all contexts' files.
func (b *build) closeContexts() {
	b.files.close()
	for _, c := range b.contexts {
		if c.files != nil {
			c.files.close()
		}
	}
}
