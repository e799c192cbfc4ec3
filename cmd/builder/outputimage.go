package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
)

// image takes up an output of the types that are about an image. As in BuildKit
// their name is another way to write -t.
func (outs *outputs) image(c *cli.Context, o *build.Options, s outputSpec) error {
	for _, name := range strings.Split(s.take("name"), ",") {
		if name == "" || slices.Contains(o.Tags, name) {
			continue
		}
		if _, err := layout.ParseName(name); err != nil {
			return err
		}
		o.Tags = append(o.Tags, name)
	}
	for _, read := range []func() error{
		func() error { return outs.pushing(s) },
		func() error { return outs.packing(o, s) },
		func() error { return outs.mediaTypes(c, o, s) },
		func() error { return outs.times(o, s) },
		func() error { return outs.annotateByAttributes(o, s) },
		func() error { return alwaysSo(s) },
	} {
		if err := read(); err != nil {
			return err
		}
	}
	dest, named := s.attributes["dest"]
	s.take("dest")
	if named && (s.kind == "image" || s.kind == "registry") {
		return fault.New("use type=oci or type=docker for a file", "--output type=%s has no dest", s.kind)
	}
	if s.kind != "oci" && !named {
		return nil // builder's own store has it
	}
	return outs.archive(s, dest)
}

// pushing reads whether and how the image is pushed.
func (outs *outputs) pushing(s outputSpec) error {
	for name, into := range map[string]*bool{"push": &outs.push, "push-by-digest": &outs.byDigest, "registry.insecure": &outs.insecure} {
		is, err := s.takeBool(name, name == "push" && s.kind == "registry")
		if err != nil {
			return err
		}
		if is && (s.kind == "oci" || s.kind == "docker") {
			return fault.New("add -o type=registry, or --push", "--output type=%s is a file, and has no %s", s.kind, name)
		}
		*into = *into || is
	}
	return nil
}

// ask notes an attribute about the image as a whole: there is one image,
// however many outputs it has.
func (outs *outputs) ask(name, value string) error {
	if before, ok := outs.asked[name]; ok && before != value {
		return fault.New("give all outputs the same, or build twice: the steps are cached",
			"two outputs can't have %s=%s and %s=%s", name, before, name, value)
	}
	outs.asked[name] = value
	return nil
}

// packing reads how an output wants its layers packed, which is how the build
// packs them.
func (outs *outputs) packing(o *build.Options, s outputSpec) error {
	if name := s.take("compression"); name != "" {
		if err := outs.ask("compression", name); err != nil {
			return err
		}
		c, err := compressionOf(name)
		if err != nil {
			return err
		}
		if c != o.Compression {
			o.Compression, o.Level = c, 0
		}
	}
	if text := s.take("compression-level"); text != "" {
		if err := outs.ask("compression-level", text); err != nil {
			return err
		}
		if o.Compression == layer.None {
			return fault.New("leave it out", "--output compression-level=%s: there is no compression", text)
		}
		level, err := strconv.Atoi(text)
		if most := highestLevel[o.Compression]; err != nil || level < 1 || level > most {
			return fault.New("", "--output compression-level=%s: %s has levels from 1 to %d", text, o.Compression, most)
		}
		o.Level = level
	}
	force, err := s.takeBool("force-compression", false)
	o.ForceCompression = o.ForceCompression || force
	return err
}

// compressionOf reads BuildKit's name of a compression.
func compressionOf(name string) (layer.Compression, error) {
	switch name {
	case "gzip", "zstd":
		return layer.Compression(name), nil
	case "uncompressed", "none":
		return layer.None, nil
	case "estargz":
		return "", fault.New("use compression=gzip, or zstd", "--output compression=estargz: builder writes no layers that are pulled lazily")
	}
	return "", fault.New("it can be gzip, zstd or uncompressed", "--output compression=%s isn't known", name)
}

// mediaTypes reads whether the image is of OCI's format.
func (outs *outputs) mediaTypes(c *cli.Context, o *build.Options, s outputSpec) error {
	text, given := s.attributes["oci-mediatypes"]
	oci, err := s.takeBool("oci-mediatypes", true)
	if err != nil || !given {
		return err
	}
	if err := outs.ask("oci-mediatypes", strconv.FormatBool(oci)); err != nil {
		return err
	}
	format := layout.FormatOCI
	if !oci {
		format = layout.FormatDocker
	}
	if c.IsSet("format") && o.Format != format {
		return fault.New("leave one of them out", "--output oci-mediatypes=%s contradicts --format %s", text, o.Format)
	}
	o.Format = format
	return nil
}

// times reads whether an epoch becomes the time of what is in the layers too.
func (outs *outputs) times(o *build.Options, s outputSpec) error {
	text, given := s.attributes["rewrite-timestamp"]
	rewrite, err := s.takeBool("rewrite-timestamp", true)
	if err != nil || !given {
		return err
	}
	if err := outs.ask("rewrite-timestamp", text); err != nil {
		return err
	}
	o.RewriteTimes = &rewrite
	return nil
}

// only takes an attribute that has but one meaning here.
func (s outputSpec) only(name string, is bool, why string) error {
	value, err := s.takeBool(name, is)
	if err == nil && value != is {
		err = fault.New("leave it out", "--output type=%s,%s=%t: %s", s.kind, name, value, why)
	}
	return err
}

// withoutMeaning are attributes that say nothing here: an image in the store is
// found by NAME@DIGEST anyhow, its files are unpacked when they are needed, and
// there are no attestations to be laid out.
var withoutMeaning = []string{
	"name-canonical", "unpack", "danging-name-empty-only", "oci-artifact", "attestation-inline", "attestation-prefix",
}

// alwaysSo takes the attributes that have no meaning, or one that builder can't
// be talked out of.
func alwaysSo(s outputSpec) error {
	for _, name := range withoutMeaning {
		s.take(name)
	}
	if s.take("dangling-name-prefix") != "" {
		return fault.New("name it by name= or -t, or use the id that is printed",
			"--output dangling-name-prefix: an image without a name is known by its id")
	}
	if s.take("buildinfo-attrs") != "" {
		return s.only("buildinfo", false, "BuildKit itself has given it up")
	}
	if s.kind == "docker" && s.take("context") != "" {
		return fault.New("write a file by dest=, and let docker load that", "--output type=docker,context=…: builder speaks with no docker")
	}
	for _, a := range []struct {
		name string
		is   bool
		why  string
	}{
		{"store", true, "what is pushed or written lies in builder's store first; builder rmi removes it"},
		{"buildinfo", false, "BuildKit itself has given it up"},
		{"prefer-nondist-layers", false, "layers keep the media type that the base image gives them"},
	} {
		if err := s.only(a.name, a.is, a.why); err != nil {
			return err
		}
	}
	return nil
}

// attributesOf are those that an output of a type can have.
func attributesOf(kind string) []string {
	switch kind {
	case "local", "tar":
		return []string{"dest", "platform-split"}
	case cacheOnly:
		return nil
	}
	names := []string{"name", "compression", "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp", "annotation.KEY"}
	if kind == "oci" || kind == "docker" {
		return append(names, "dest", "tar")
	}
	return append(names, "push", "push-by-digest", "registry.insecure", "name-canonical", "unpack", "store")
}

// unknown refuses an attribute, and names the one that was perhaps meant.
func (s outputSpec) unknown(name string) error {
	known := attributesOf(s.kind)
	if len(known) == 0 {
		return fault.New("leave it out", "--output type=%s has no attributes: %s=%s", s.kind, name, s.attributes[name])
	}
	remedy := "it can have " + strings.Join(known, ", ")
	if meant := nearest(name, known); meant != "" {
		remedy = "did you mean " + meant + "?"
	}
	return fault.New(remedy, "--output type=%s has no attribute %s: %s=%s", s.kind, name, name, s.attributes[name])
}

// annotateByAttributes takes annotation.KEY and its longer forms.
func (outs *outputs) annotateByAttributes(o *build.Options, s outputSpec) error {
	for _, name := range slices.Sorted(maps.Keys(s.attributes)) {
		found := annotationAttribute.FindStringSubmatch(name)
		if found == nil {
			continue
		}
		what := annotation{object: found[1], platform: found[2], key: found[3], value: s.attributes[name]}
		s.take(name)
		if err := outs.annotate(o, what, "--output "+name); err != nil {
			return err
		}
	}
	return nil
}
