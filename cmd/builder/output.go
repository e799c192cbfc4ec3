package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	}, granted("load"))
}

// outputs are what a build gives away when its image is complete.
type outputs struct {
	archives []archiveOutput
	push     bool
	names    []string // canonical
	metadata string   // path of a file, or ""
	stdout   bool     // one of them takes the standard output
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
	outs := &outputs{push: c.Bool("push"), metadata: c.String("metadata-file")}
	var err error
	if o.Annotations, err = annotations(c.StringSlice("annotation")); err != nil {
		return nil, err
	}
	image := outs.push || outs.metadata != "" || c.String("iidfile") != ""
	for _, text := range c.StringSlice("output") {
		spec, err := parseOutput(text)
		if err != nil {
			return nil, err
		}
		isTree, err := outs.add(c, o, spec)
		if err != nil {
			return nil, err
		}
		image = image || !isTree
	}
	o.NoImage = len(o.Trees) > 0 && len(o.Tags) == 0 && !image
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

// add takes up one output, and says whether that is a tree rather than an image.
func (outs *outputs) add(c *cli.Context, o *build.Options, s outputSpec) (isTree bool, err error) {
	switch s.kind {
	case "local", "tar":
		isTree, err = true, outs.tree(c, o, s)
	case "oci", "docker", "image", "registry":
		err = outs.image(o, s)
	case "cacheonly":
		return false, notYet("--output type=" + s.kind)
	default:
		return false, fault.New("it can be local, tar, oci, docker, image or registry", "--output: the type %q isn't known", s.kind)
	}
	if err != nil {
		return isTree, err
	}
	for name, value := range s.attributes {
		return isTree, notYet(fmt.Sprintf("--output type=%s,%s=%s", s.kind, name, value))
	}
	return isTree, nil
}

func (outs *outputs) tree(c *cli.Context, o *build.Options, s outputSpec) error {
	dest := s.take("dest")
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

// image takes up an output of the types that are about an image. As in BuildKit
// their name is another way to write -t.
func (outs *outputs) image(o *build.Options, s outputSpec) error {
	for _, name := range strings.Split(s.take("name"), ",") {
		if name != "" && !slices.Contains(o.Tags, name) {
			o.Tags = append(o.Tags, name)
		}
	}
	push, err := s.takeBool("push", s.kind == "registry")
	if err != nil {
		return err
	}
	outs.push = outs.push || push
	if err := packingOf(o, s); err != nil {
		return err
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

// packingOf reads how an output wants its layers packed, which is how the build
// packs them.
func packingOf(o *build.Options, s outputSpec) error {
	if name := s.take("compression"); name != "" {
		if name == "uncompressed" {
			name = string(layer.None)
		}
		o.Compression = layer.Compression(name)
		if !slices.Contains([]layer.Compression{layer.Gzip, layer.Zstd, layer.None}, o.Compression) {
			return notYet("--output compression=" + name)
		}
	}
	if text := s.take("compression-level"); text != "" {
		level, err := strconv.Atoi(text)
		if most := highestLevel[o.Compression]; err != nil || level < 1 || level > most {
			return fault.New("", "--output compression-level=%s: %s has levels from 1 to %d", text, o.Compression, most)
		}
		o.Level = level
	}
	if err := alwaysSo(o, s); err != nil {
		return err
	}
	for name, value := range s.attributes {
		if key, ok := strings.CutPrefix(name, "annotation."); ok {
			if o.Annotations == nil {
				o.Annotations = map[string]string{}
			}
			o.Annotations[key] = value
			s.take(name)
		}
	}
	return nil
}

// alwaysSo takes the attributes that ask for what builder does anyway: an epoch
// is the time of all that is in a layer, and the format is --format's.
func alwaysSo(o *build.Options, s outputSpec) error {
	for name, is := range map[string]bool{
		"rewrite-timestamp": o.Epoch != nil || o.BuildArgs[epochEnv] != "",
		"oci-mediatypes":    o.Format == layout.FormatOCI,
		"force-compression": false,
	} {
		wanted, err := s.takeBool(name, is)
		if err != nil {
			return err
		}
		if wanted && name == "rewrite-timestamp" && !is {
			return fault.New("give one by --timestamp or "+epochEnv, "--output rewrite-timestamp=true: there is no time to write")
		}
		if wanted != is {
			return notYet(fmt.Sprintf("--output %s=%t", name, wanted))
		}
	}
	return nil
}

// annotated are the objects that docker can annotate, and for which platform.
var annotated = regexp.MustCompile(`^(manifest|index|manifest-descriptor|index-descriptor)(\[[^=]*\])?(,.*)?$`)

// annotations reads NAME=VALUE, before which docker lets the object stand that
// it is for.
func annotations(texts []string) (map[string]string, error) {
	set := map[string]string{}
	for _, text := range texts {
		pair := text
		if object, rest, ok := strings.Cut(text, ":"); ok && annotated.MatchString(object) {
			if object != "manifest" {
				return nil, notYet("--annotation " + text)
			}
			pair = rest
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fault.New("write it as --annotation NAME=VALUE", "--annotation %q is not NAME=VALUE", text)
		}
		set[name] = value
	}
	return set, nil
}
