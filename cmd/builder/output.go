package main

import (
	"encoding/csv"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

func outputFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "give the result away: `DIR`, - or type=…,dest=…"},
		&cli.BoolFlag{Name: "push", Usage: "push the image to its names' registries"},
		&cli.StringFlag{Name: "metadata-file", Usage: "write digests and names to `FILE` as JSON"},
		&cli.StringSliceFlag{Name: "annotation", Usage: "add an annotation `NAME=VALUE` to the manifest"},
		&cli.BoolFlag{Name: "squash", Hidden: true, Usage: "make one layer of those that the build adds"},
		&cli.BoolFlag{Name: "squash-all", Hidden: true, Usage: "make one layer of all, the base's too"},
		// The store is what docker would load an image into.
		&cli.BoolFlag{Name: "load", Hidden: true, Usage: "keep the image in the store, as is always done"},
	}, attestFlags())
}

// outputs are what a build gives away when its image is complete.
type outputs struct {
	archives []archiveOutput
	push     bool
	byDigest bool     // push to no tag
	insecure bool     // push also to who can't prove himself by TLS
	names    []string // canonical
	metadata string   // path of a file, or ""
	stdout   bool     // one of them takes the standard output
	// descriptor are annotations of the manifest's descriptor, wherever that
	// stands.
	descriptor map[string]string
	// asked are the attributes about the image as a whole that an output has
	// given: two can't differ.
	asked map[string]string
	// cacheOnly says that one output wants no more than the cache.
	cacheOnly bool
}

// archiveOutput is an image archive, or the directory of an OCI layout.
type archiveOutput struct {
	format string
	dest   string // "-" is the standard output
	isDir  bool
}

// readOutputs reads the flags about what comes out, and puts into o what has to
// be known while it is built.
func readOutputs(c *cli.Context, o *build.Options) (*outputs, error) {
	outs := &outputs{
		push: c.Bool("push"), metadata: c.String("metadata-file"),
		descriptor: map[string]string{}, asked: map[string]string{},
	}
	o.Annotations = map[string]string{}
	for _, text := range c.StringSlice("annotation") {
		if err := outs.annotateByFlag(o, text); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Bool("squash-all"):
		o.Squash = build.SquashAll
	case c.Bool("squash"):
		o.Squash = build.SquashNew
	}
	image := outs.push || c.Bool("load") || c.String("iidfile") != ""
	for _, text := range c.StringSlice("output") {
		spec, err := parseOutput(text)
		if err != nil {
			return nil, err
		}
		isTree, err := outs.add(c, o, spec)
		if err != nil {
			return nil, err
		}
		image = image || !isTree && spec.kind != cacheOnly
	}
	// As with docker, whose CI files give names to builds that are only to fill
	// the cache, those are then for nothing.
	named := len(o.Tags) > 0 && (!outs.cacheOnly || len(o.Trees) > 0)
	o.NoImage = (len(o.Trees) > 0 || outs.cacheOnly) && !named && !image && (outs.metadata == "" || outs.cacheOnly)
	return outs, outs.settle(c, o)
}

// settle checks what can be said only of all outputs together.
func (outs *outputs) settle(c *cli.Context, o *build.Options) error {
	for _, tag := range o.Tags {
		name, err := layout.ParseName(tag)
		if err != nil {
			return err
		}
		outs.names = append(outs.names, name)
	}
	if outs.push && len(outs.names) == 0 {
		return fault.New("name the image: -t REGISTRY/NAME:TAG", "there is nothing to push by: the image has no name")
	}
	for _, tag := range o.Tags {
		if outs.byDigest && !reference.IsNameOnly(mustParse(tag)) {
			return fault.New("leave the tag out: -t "+reference.FamiliarName(mustParse(tag)),
				"--output push-by-digest=true is for a name without a tag, not %s", tag)
		}
	}
	if len(o.Annotations) > 0 && o.Format == layout.FormatDocker {
		return fault.New("use --format oci", "docker's image format has no annotations")
	}
	if outs.stdout && isTerminal(os.Stdout) {
		return fault.New("name a file by dest=FILE, or redirect the output: > FILE", "refusing to write an archive to the terminal")
	}
	if o.Level > highestLevel[o.Compression] {
		return usageError(c.Command.HelpName, "%s has levels up to %d, not %d", o.Compression, highestLevel[o.Compression], o.Level)
	}
	if o.Compression == layer.Zstd && o.Format == layout.FormatDocker {
		return usageError(c.Command.HelpName, "docker's image format has no zstd layers")
	}
	return nil
}

// outputSpec is one --output: its type, and the other attributes.
type outputSpec struct {
	text, kind string
	attributes map[string]string
}

// parseOutput reads docker's short forms, DIR and -, and the list of attributes.
func parseOutput(text string) (outputSpec, error) {
	spec := outputSpec{text: text, attributes: map[string]string{}}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return spec, fault.New("write it as type=local,dest=DIR", "--output %q can't be read: %w", text, err)
	}
	if len(fields) == 1 && fields[0] == text && !strings.HasPrefix(text, "type=") {
		spec.kind, spec.attributes["dest"] = "local", text
		if text == "-" {
			spec.kind = "tar"
		}
		return spec, nil
	}
	for _, field := range fields {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return spec, fault.New("write it as type=local,dest=DIR", "--output %q: %q is not NAME=VALUE", text, field)
		}
		if name = strings.ToLower(strings.TrimSpace(name)); name == "type" {
			spec.kind = value
		} else {
			spec.attributes[name] = value
		}
	}
	if spec.kind == "" {
		return spec, fault.New("begin it with type=local, tar, oci, docker, image or registry", "--output %q has no type", text)
	}
	return spec, nil
}

// take gives an attribute and strikes it off.
func (s outputSpec) take(name string) string {
	value := s.attributes[name]
	delete(s.attributes, name)
	return value
}

func (s outputSpec) takeBool(name string, otherwise bool) (bool, error) {
	text := s.take(name)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fault.New("write true or false", "--output %s: %s=%s is neither", s.text, name, text)
	}
	return value, nil
}

// cacheOnly is the type of an output that is none.
const cacheOnly = "cacheonly"

// add takes up one output, and says whether that is a tree rather than an image.
func (outs *outputs) add(c *cli.Context, o *build.Options, s outputSpec) (isTree bool, err error) {
	switch s.kind {
	case "local", "tar":
		isTree, err = true, outs.tree(c, o, s)
	case "oci", "docker", "image", "registry":
		err = outs.image(c, o, s)
	case cacheOnly:
		outs.cacheOnly = true
	default:
		return false, fault.New("it can be local, tar, oci, docker, image, registry or cacheonly", "--output: the type %q isn't known", s.kind)
	}
	if err != nil {
		return isTree, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.attributes)) {
		return isTree, s.unknown(name)
	}
	return isTree, nil
}

func (outs *outputs) tree(c *cli.Context, o *build.Options, s outputSpec) error {
	dest := s.take("dest")
	s.take("attestation-prefix") // there are no attestations
	if err := s.only("platform-split", false, "the target is of one platform, and its files lie in DIR itself"); err != nil {
		return err
	}
	if s.kind == "local" {
		if dest == "" || dest == "-" {
			return fault.New("write it as type=local,dest=DIR", "--output type=local needs a directory")
		}
		o.Trees = append(o.Trees, build.Tree{Dir: dest})
		return nil
	}
	write, err := outs.writer(c, dest)
	o.Trees = append(o.Trees, build.Tree{Tar: write})
	return err
}

// writer gives a function that writes a file, or the standard output for "-" and
// where nothing is named.
func (outs *outputs) writer(c *cli.Context, dest string) (func(func(io.Writer) error) error, error) {
	if dest != "" && dest != "-" {
		return func(write func(io.Writer) error) error { return writeFile(dest, write) }, nil
	}
	if outs.stdout {
		return nil, fault.New("give all but one a dest=FILE", "two outputs can't both be the standard output")
	}
	outs.stdout = true
	return func(write func(io.Writer) error) error { return write(c.App.Writer) }, nil
}

func (outs *outputs) archive(s outputSpec, dest string) error {
	isTar, err := s.takeBool("tar", true)
	if err != nil {
		return err
	}
	a := archiveOutput{format: transport.OCIArchive, dest: dest, isDir: !isTar}
	if s.kind == "docker" {
		a.format = transport.DockerArchive
	}
	if a.dest == "" {
		a.dest = "-"
	}
	if a.isDir && len(outs.descriptor) > 0 {
		return fault.New("write an archive: type=oci,dest=FILE", "--output %s: descriptors of a directory get no annotations", s.text)
	}
	switch {
	case a.isDir && (a.dest == "-" || s.kind == "docker"):
		return fault.New("write it as type=oci,tar=false,dest=DIR", "--output %s: only an OCI layout can be a directory, and needs a dest", s.text)
	case a.dest == "-" && outs.stdout:
		return fault.New("give all but one a dest=FILE", "two outputs can't both be the standard output")
	}
	outs.stdout = outs.stdout || a.dest == "-"
	outs.archives = append(outs.archives, a)
	return nil
}
