package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/cmd/builder/flagdoc"
	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
)

// values offers what a flag may be: the words that its description lists, or
// else what the name of its value stands for.
func (p *completer) values(f cli.Flag, before string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return
	}
	kind, _ := flagdoc.Placeholder(doc.GetUsage())
	for _, value := range listedValues(doc.GetUsage()) {
		if kind == "KEY=VALUE" { // a list of keys
			value += "="
		}
		p.offer(before+value, "")
	}
	p.kind(kind, before)
}

// kind offers what has such a name in the descriptions of flags and arguments.
func (p *completer) kind(name, before string) {
	switch name {
	case "FILE", "PATH", "FILE|-", "FILE|URL|-":
		p.offer(offerFiles, "")
	case "DIR", "DIRECTORY", "DIRECTORY|URL|-":
		p.offer(offerDirectories, "")
	case "IMAGE", "IMAGE|DIGEST", "REPOSITORY[:TAG]", "NAME[:TAG|@DIGEST]":
		p.print(before, p.images)
	case "CONTAINER":
		p.print(before, containers)
	case "CONTAINER:PATH", "PATH|-":
		p.opened(before, containers)
		p.offer(offerFiles, "")
	case "VOLUME":
		p.print(before, volumes)
	case "[SOURCE:]PATH[:ro]":
		p.opened(before, volumes)
		p.offer(offerDirectories, "")
	case "CONTAINER|IMAGE|VOLUME":
		p.print(before, containers)
		p.print(before, p.images)
		p.print(before, volumes)
	case "CONTAINER|STEP":
		p.print(before, containers)
		p.print(before, failures)
	case "STEP":
		p.print(before, failures)
	case "OS/ARCH[/VARIANT]":
		p.platforms(before)
	}
}

// opened offers names with a colon behind them, where a path follows.
func (p *completer) opened(before string, offers cli.BashCompleteFunc) {
	if strings.ContainsAny(p.word, "/.") { // it is a path
		return
	}
	p.print(before, func(c *cli.Context) {
		var names bytes.Buffer
		inner := *c.App
		inner.Writer = &names
		offers(cli.NewContext(&inner, nil, c))
		for line := range strings.Lines(names.String()) {
			name, about, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			_, _ = fmt.Fprintln(c.App.Writer, strings.TrimRight(name+":\t"+about, "\t"))
		}
	})
}

var (
	value   = regexp.MustCompile(`^[a-z0-9][a-z0-9.+/-]*$`)
	remarks = regexp.MustCompile(` \([^)]*\)`)
)

// listedValues reads the list that descriptions of flags have behind a colon:
// of "the `FORM`: auto, tty or plain" it is auto, tty, plain. A value's name in
// small letters is the one value. Whatever has blanks in it is none.
func listedValues(usage string) []string {
	var values []string
	if name, _ := flagdoc.Placeholder(usage); value.MatchString(name) {
		values = append(values, name)
	}
	for part := range strings.SplitSeq(remarks.ReplaceAllString(usage, ""), ";") {
		colon := strings.LastIndex(part, ": ")
		if colon < 0 {
			continue
		}
		for word := range strings.SplitSeq(strings.ReplaceAll(part[colon+2:], " or ", ", "), ", ") {
			if value.MatchString(word) && !slices.Contains(values, word) {
				values = append(values, word)
			}
		}
	}
	return values
}

// platforms offers this machine's, and those that images are usually made for.
func (p *completer) platforms(before string) {
	here := platform.Name(platform.Here())
	p.offer(before+here, "this machine")
	for _, name := range []string{
		"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386",
		"linux/ppc64le", "linux/s390x", "linux/riscv64", "linux/loong64",
	} {
		if name != here {
			p.offer(before+name, "")
		}
	}
}

// withStoreThatIs calls read with the store, if there is one.
func withStoreThatIs(c *cli.Context, read func(*storage.Store)) {
	store, err := storage.Open(c.Context, storage.Options{Root: c.String(flagRoot), NoCreate: true})
	if err != nil {
		return
	}
	read(store)
	_ = store.Close()
}

// images offers images' names; and ids, of those that have no name, and of all
// where the word may be the beginning of one.
func (p *completer) images(c *cli.Context) {
	withStoreThatIs(c, func(store *storage.Store) {
		images, err := store.Layout().List()
		if err != nil {
			return
		}
		_, word, joined := strings.Cut(p.word, "=")
		if !joined {
			word = p.word
		}
		hex := word != "" && strings.Trim(word, "0123456789abcdef") == ""
		for _, img := range images {
			named := img.Name != "" && !strings.Contains(img.Name, "@")
			if named {
				_, _ = fmt.Fprintln(c.App.Writer, layout.Familiar(img.Name))
			}
			if hex || !named {
				_, _ = fmt.Fprintf(c.App.Writer, "%s\t%s\n", format.ShortID(img.ID), layout.Familiar(img.Name))
			}
		}
	})
}

// failures offers the ids of failed steps.
func failures(c *cli.Context) {
	withStoreThatIs(c, func(store *storage.Store) {
		failed, err := build.Failures(store)
		if err != nil {
			return
		}
		for _, f := range failed {
			_, _ = fmt.Fprintln(c.App.Writer, format.ShortID(f.Key))
		}
	})
}

// volumes offers the names of volumes.
func volumes(c *cli.Context) {
	withStoreThatIs(c, func(store *storage.Store) {
		all, err := store.Volumes().List()
		if err != nil {
			return
		}
		for _, v := range all {
			_, _ = fmt.Fprintln(c.App.Writer, v.Name)
		}
	})
}

// containers offers the names of containers, or else their ids.
func containers(c *cli.Context) {
	withStoreThatIs(c, func(store *storage.Store) {
		for _, found := range container.List(containersDir(store)) {
			name := found.Config.Name
			if name == "" {
				name = found.Config.ID[:format.ShortLen]
			}
			_, _ = fmt.Fprintf(c.App.Writer, "%s\t%s\n", name, found.Config.Image)
		}
	})
}
