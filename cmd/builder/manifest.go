package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/userns"
	"github.com/builder-oci/builder/storage"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/transport"
)

// manifestCommand has the commands about manifest lists: multi-platform indexes,
// which are kept as any image is, under a name.
func manifestCommand() *cli.Command {
	return &cli.Command{
		Name:     "manifest",
		Category: categoryMore,
		Usage:    "Make and push images for several platforms",
		Subcommands: []*cli.Command{
			manifestCreateCommand(),
			manifestAddCommand(),
			manifestAnnotateCommand(),
			manifestInspectCommand(),
			manifestPushCommand(),
			manifestRemoveCommand(),
			manifestRmCommand(),
			manifestExistsCommand(),
		},
	}
}

// listFlags are those of commands that take images into a list.
func listFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.BoolFlag{Name: "all", Usage: "of an image for several platforms take all"},
		&cli.StringSliceFlag{Name: "annotation", Usage: "add an annotation `NAME=VALUE`; may be repeated"},
	}, registryFlags(), insecureFlag())
}

// insecureFlag is docker's word for --tls-verify=false.
func insecureFlag() []cli.Flag {
	return []cli.Flag{&cli.BoolFlag{Name: "insecure", Hidden: true, Usage: "speak with registries that don't prove themselves"}}
}

func manifestCreateCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "Make a manifest list of images",
		ArgsUsage: "LIST [IMAGE...]",
		Description: "IMAGE is the name of one that is here, or else of one in a registry, which is fetched;\n" +
			"docker://NAME is always the registry's.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "amend", Aliases: []string{"a"}, Usage: "add to the list, if there is one"},
		}, listFlags()...),
		Action: coded(manifestCreate),
	}
}

func manifestAddCommand() *cli.Command {
	return &cli.Command{
		Name:        "add",
		Usage:       "Add images to a manifest list",
		ArgsUsage:   "LIST IMAGE...",
		Description: "IMAGE is the name of one that is here, or else of one in a registry, which is fetched.",
		Flags:       append(memberFlags(), listFlags()...),
		Action:      coded(manifestAdd),
	}
}

func manifestRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "Take images out of a manifest list",
		ArgsUsage: "LIST DIGEST...",
		Action:    coded(manifestRemove),
	}
}

func manifestRmCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "Remove manifest lists",
		ArgsUsage: "LIST...",
		Action:    coded(manifestRm),
	}
}

func manifestExistsCommand() *cli.Command {
	return &cli.Command{
		Name:      "exists",
		Usage:     "Tell by the exit code whether there is a manifest list",
		ArgsUsage: "LIST",
		Action: coded(func(c *cli.Context) error {
			name, err := argument(c, "the list's name")
			if err != nil {
				return err
			}
			return withStore(c, func(store *storage.Store) error {
				_, _, err := store.Layout().Multi(name)
				if errors.Is(err, layout.ErrUnknown) || errors.Is(err, layout.ErrNoIndex) {
					return exitStatus(1)
				}
				return err
			})
		}),
	}
}

func manifestCreate(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c.Command.HelpName, "%s takes the list's name, and images", c.Command.HelpName)
	}
	name := c.Args().First()
	annotations, err := pairs(c, "annotation")
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		l := store.Layout()
		_, _, err := l.Multi(name)
		exists := err == nil
		if exists && !c.Bool("amend") {
			return fault.New("add to it: --amend, or begin anew: builder manifest rm "+name,
				"refusing to amend an existing manifest list with no --amend flag")
		}
		members, err := membersOf(c, store, c.Args().Tail())
		if err != nil {
			return err
		}
		fill := func(list *v1.Index) error {
			for _, d := range members {
				putMember(list, d)
			}
			list.Annotations = withPairs(list.Annotations, annotations)
			return nil
		}
		if exists {
			_, err = l.ChangeMulti(c.Context, name, fill)
			err = errors.Join(err, freeNoted(c, store))
		} else {
			list := &v1.Index{}
			_ = fill(list)
			_, err = l.NewMulti(c.Context, name, list)
		}
		if err == nil {
			_, err = fmt.Fprintln(c.App.Writer, "Created manifest list", familiarOf(name))
		}
		return err
	})
}

func manifestAdd(c *cli.Context) error {
	if c.NArg() < 2 {
		return usageError(c.Command.HelpName, "%s takes a list and the images to add", c.Command.HelpName)
	}
	change, err := readMemberFlags(c)
	if err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		list := c.Args().First()
		if _, _, err := store.Layout().Multi(list); err != nil {
			return noSuchList(list, err)
		}
		members, err := membersOf(c, store, c.Args().Tail())
		if err != nil {
			return err
		}
		return changeList(c, store, list, func(index *v1.Index) error {
			for _, d := range members {
				change(&d)
				putMember(index, d)
			}
			return nil
		})
	})
}

func manifestRemove(c *cli.Context) error {
	if c.NArg() < 2 {
		return usageError(c.Command.HelpName, "%s takes a list and digests of images in it", c.Command.HelpName)
	}
	return withStore(c, func(store *storage.Store) error {
		list := c.Args().First()
		return changeList(c, store, list, func(index *v1.Index) error {
			for _, ref := range c.Args().Tail() {
				at, err := memberIn(c, store, index, list, ref)
				if err != nil {
					return err
				}
				index.Manifests = slices.Delete(index.Manifests, at, at+1)
			}
			return nil
		})
	})
}

// changeList changes a list and prints its new digest, as podman does.
func changeList(c *cli.Context, store *storage.Store, list string, fn func(*v1.Index) error) error {
	d, err := store.Layout().ChangeMulti(c.Context, list, fn)
	if err != nil {
		return noSuchList(list, err)
	}
	if err := freeNoted(c, store); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, d.Digest)
	return err
}

// freeNoted removes the blobs of which it was noted that nothing needs them: an
// index that has been replaced, and what that alone led to.
func freeNoted(c *cli.Context, store *storage.Store) error {
	_, err := store.Collector(userns.Inside()).FreeUnreferenced(c.Context, layout.Free{})
	return err
}

// manifestRm removes lists, and goes on after an error.
func manifestRm(c *cli.Context) error {
	if err := needSome(c, "list"); err != nil {
		return err
	}
	return withStore(c, func(store *storage.Store) error {
		var failed error
		for _, name := range c.Args().Slice() {
			if err := removeList(c, store, name); err != nil {
				failed = errSome
				report(c.Context, c.App.ErrWriter, err)
			}
		}
		return failed
	})
}

// removeList removes a list's name, and what only it led to.
func removeList(c *cli.Context, store *storage.Store, name string) error {
	if _, _, err := store.Layout().Multi(name); err != nil {
		return noSuchList(name, err)
	}
	removed, err := store.Layout().Remove(c.Context, name, layout.RemoveOptions{Users: imageUsers(store)})
	if err != nil {
		return err
	}
	_, err = store.Collector(userns.Inside()).FreeUnreferenced(c.Context, layout.Free{Blobs: removed.Blobs, Layers: removed.Layers})
	return err
}

// noSuchList is docker's word for a list that isn't there.
func noSuchList(name string, err error) error {
	if errors.Is(err, layout.ErrUnknown) {
		return fault.New("make it: builder manifest create "+name, "No such manifest: %s", familiarOf(name))
	}
	return err
}

// familiarOf is a name as docker shows it, or the text where that is none.
func familiarOf(text string) string {
	name, err := layout.ParseName(text)
	if err != nil {
		return text
	}
	return layout.Familiar(name)
}

// membersOf gives what a list is to have of images: of those that are here, and of
// others in registries, which are fetched.
func membersOf(c *cli.Context, store *storage.Store, refs []string) ([]v1.Descriptor, error) {
	var members []v1.Descriptor
	for _, ref := range refs {
		found, err := memberOf(c, store, ref)
		if err != nil {
			return nil, err
		}
		members = append(members, found...)
	}
	return members, nil
}

func memberOf(c *cli.Context, store *storage.Store, ref string) ([]v1.Descriptor, error) {
	name, remote := strings.CutPrefix(ref, "docker://")
	if !remote {
		img, err := theImage(c, store, ref)
		if err == nil {
			return store.Layout().Listable(img, c.Bool("all"))
		}
		if !errors.Is(err, layout.ErrUnknown) || isElsewhere(ref) {
			return nil, err
		}
	}
	canonical, err := layout.ParseName(name)
	if err != nil {
		return nil, err
	}
	o, err := manifestOptions(c, store)
	if err != nil {
		return nil, err
	}
	p, err := newProgress(c, "Fetching "+layout.Familiar(canonical), true)
	if err != nil {
		return nil, err
	}
	shown := p.display(c, false, nil)
	o.Report = shown.transfer(canonical).report
	found, err := transport.FetchListed(c.Context, canonical, c.Bool("all"), o)
	return found, shown.settle(err)
}

// manifestOptions are transportOptions with docker's --insecure.
func manifestOptions(c *cli.Context, store *storage.Store) (transport.Options, error) {
	o, err := transportOptions(c, store)
	if c.Bool("insecure") {
		verify := false
		o.TLSVerify = &verify
	}
	return o, err
}

// putMember adds a manifest to a list, in the place of the same one if that is
// there.
func putMember(list *v1.Index, d v1.Descriptor) {
	same := func(m v1.Descriptor) bool { return m.Digest == d.Digest }
	if at := slices.IndexFunc(list.Manifests, same); at >= 0 {
		list.Manifests[at] = d
		return
	}
	list.Manifests = append(list.Manifests, d)
}

// memberIn finds what ref means in a list: a digest, or an image that is here or in
// a registry.
func memberIn(c *cli.Context, store *storage.Store, list *v1.Index, listName, ref string) (int, error) {
	wanted, err := digestsOf(c, store, ref)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(list.Manifests, func(m v1.Descriptor) bool { return slices.Contains(wanted, m.Digest) })
	if at < 0 {
		return 0, fault.New("see what it lists: builder manifest inspect "+listName,
			"manifest for image %s does not exist in %s", ref, familiarOf(listName))
	}
	return at, nil
}

// digestsOf gives the digests of the manifests that ref may mean.
func digestsOf(c *cli.Context, store *storage.Store, ref string) ([]digest.Digest, error) {
	if d := digest.Digest(ref[strings.LastIndex(ref, "@")+1:]); d.Validate() == nil {
		return []digest.Digest{d}, nil
	}
	name, remote := strings.CutPrefix(ref, "docker://")
	if !remote {
		img, err := store.Layout().Find(ref)
		if err == nil {
			return []digest.Digest{img.Manifest.Digest}, nil
		}
		if !errors.Is(err, layout.ErrUnknown) {
			return nil, err
		}
	}
	o, err := manifestOptions(c, store)
	if err != nil {
		return nil, err
	}
	return remoteDigests(c, name, o)
}
