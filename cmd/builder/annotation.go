package main

import (
	"regexp"
	"strings"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// annotation is one NAME=VALUE for an object of an image.
type annotation struct {
	object   string // "" is the manifest
	platform string // "" is any
	key      string
	value    string
}

// The objects that BuildKit can annotate.
const (
	annotatesManifest        = "manifest"
	annotatesDescriptor      = "manifest-descriptor"
	annotatesIndex           = "index"
	annotatesIndexDescriptor = "index-descriptor"
)

var (
	annotationAttribute = regexp.MustCompile(`^annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)$`)
	annotationObject    = regexp.MustCompile(`^(manifest|index|manifest-descriptor|index-descriptor)(?:\[([^\]=]*)\])?$`)
)

// annotateByFlag takes NAME=VALUE, before which docker lets the objects stand
// that it is for: index,manifest:NAME=VALUE.
func (outs *outputs) annotateByFlag(o *build.Options, text string) error {
	objects, pair := splitObjects(text)
	key, value, ok := strings.Cut(pair, "=")
	if !ok || key == "" {
		return fault.New("write it as --annotation NAME=VALUE", "--annotation %q is not NAME=VALUE", text)
	}
	for _, a := range objects {
		a.key, a.value = key, value
		if err := outs.annotate(o, a, "--annotation "+text); err != nil {
			return err
		}
	}
	return nil
}

// splitObjects gives the objects in front of a colon, or the manifest where what
// stands there is a part of the name.
func splitObjects(text string) (objects []annotation, pair string) {
	list, rest, found := strings.Cut(text, ":")
	if !found {
		return []annotation{{}}, text
	}
	for word := range strings.SplitSeq(list, ",") {
		m := annotationObject.FindStringSubmatch(word)
		if m == nil {
			return []annotation{{}}, text
		}
		objects = append(objects, annotation{object: m[1], platform: m[2]})
	}
	return objects, rest
}

// annotate gives an object of the image an annotation. text is how the user
// wrote it.
func (outs *outputs) annotate(o *build.Options, a annotation, text string) error {
	if a.platform != "" {
		p, err := platform.Parse(a.platform)
		if err != nil {
			return fault.At(text, err)
		}
		own := o.Platform
		if own.OS == "" {
			own = platform.Here()
		}
		if platform.Name(p) != platform.Name(own) {
			return fault.New("leave the platform out", "%s: the image isn't for %s", text, a.platform)
		}
	}
	switch a.object {
	case "", annotatesManifest:
		o.Annotations[a.key] = a.value
	case annotatesDescriptor:
		outs.descriptor[a.key] = a.value
	case annotatesIndex, annotatesIndexDescriptor:
		return fault.New("annotate the manifest: leave the word "+a.object+" out",
			"%s: an image for one platform is a manifest without an index", text)
	default:
		return fault.New("it can be manifest, manifest-descriptor, index or index-descriptor", "%s: there is no %q to annotate", text, a.object)
	}
	return nil
}
