package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/user"
	"github.com/opencontainers/image-spec/identity"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// containerOptions are what the user asks of a container.
type containerOptions struct {
	sandboxOptions
	image       string
	args        []string
	entrypoint  *string
	env         []string
	workdir     string
	user        string
	name        string
	hostname    string
	ports       []network.Port
	remove      bool
	interactive bool
	lesser      error // why the network isn't private, where it is left to us
}

func readContainerOptions(c *cli.Context) (containerOptions, error) {
	o := containerOptions{
		image: c.Args().First(), args: c.Args().Tail(),
		workdir: c.String("workdir"), user: c.String("user"), name: c.String("name"), hostname: c.String("hostname"),
		remove: c.Bool("rm"), interactive: c.Bool("interactive"),
	}
	if o.image == "" {
		return o, usageError(c.Command.HelpName, "%s needs an image", c.Command.HelpName)
	}
	var err error
	if o.sandboxOptions, err = readSandboxFlags(c); err != nil {
		return o, err
	}
	if o.network.Mode == "" {
		o.network.Mode, o.lesser = network.Default(), network.StepDown()
	}
	for _, text := range c.StringSlice("publish") {
		ports, err := network.ParsePort(text)
		if err != nil {
			return o, err
		}
		o.ports = append(o.ports, ports...)
	}
	if len(o.ports) > 0 && o.network.Mode != network.ModePrivate {
		return o, fault.New("leave out -p, or use --network private", "ports can't be published with --network %s", o.network.Mode)
	}
	if c.IsSet("entrypoint") {
		entrypoint := c.String("entrypoint")
		o.entrypoint = &entrypoint
	}
	o.env, err = environment(c.StringSlice("env-file"), c.StringSlice("env"))
	return o, err
}

// environment reads NAME=VALUE from files and then from flags. A NAME alone
// takes our value, and is left out where there is none.
func environment(files, given []string) ([]string, error) {
	var words []string
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if line = strings.TrimLeft(line, " \t"); line != "" && line[0] != '#' {
				words = append(words, line)
			}
		}
	}
	var env []string
	for _, word := range append(words, given...) {
		if !strings.Contains(word, "=") {
			value, set := os.LookupEnv(word)
			if !set {
				continue
			}
			word += "=" + value
		}
		env = append(env, word)
	}
	return env, nil
}

// config combines what the user asks for with what the image says, as docker
// does.
func (o containerOptions) config(img layout.Image, image layout.RunConfig, tree *layer.Tree) (container.Config, error) {
	args, err := o.command(image)
	if err != nil {
		return container.Config{}, err
	}
	name := image.User
	if o.user != "" {
		name = o.user
	}
	account, err := lookUpUser(tree, name)
	if err != nil {
		return container.Config{}, err
	}
	id := container.NewID()
	spec := sandbox.Spec{
		ID: id, Args: args, Cwd: path.Join("/", image.WorkingDir, o.workdir),
		UID: uint32(account.Uid), GID: uint32(account.Gid), Groups: stage.Groups(account),
		Network: o.network.Mode, Hostname: o.hostname, Ulimits: o.ulimits, ShmSize: o.shmSize,
	}
	if path.IsAbs(o.workdir) {
		spec.Cwd = path.Clean(o.workdir)
	}
	if spec.Hostname == "" {
		spec.Hostname = id[:format.ShortLen]
	}
	defaults := []string{"PATH=" + stage.DefaultPath, "HOSTNAME=" + spec.Hostname, "HOME=" + account.Home}
	spec.Env = mergeEnv(defaults, image.Env, o.env)
	return container.Config{
		ID: id, Name: o.name, Image: img.Name, ImageID: img.ID.String(), Spec: spec,
		Ports: o.ports, Remove: o.remove, CreatedAt: time.Now().UTC(),
	}, nil
}

// command is the argument vector: a command of the user's takes the place of
// the image's CMD, an entry point of his that of both.
func (o containerOptions) command(image layout.RunConfig) ([]string, error) {
	entrypoint, cmd := image.Entrypoint, image.Cmd
	if o.entrypoint != nil {
		entrypoint, cmd = nil, nil
		if *o.entrypoint != "" {
			entrypoint = []string{*o.entrypoint}
		}
	}
	if len(o.args) > 0 {
		cmd = o.args
	}
	args := append(append([]string{}, entrypoint...), cmd...)
	if len(args) == 0 {
		return nil, fault.New(fmt.Sprintf("name one: builder run %s COMMAND", o.image),
			"the image %s has no command of its own, and none was given", o.image)
	}
	return args, nil
}

// mergeEnv gives the variables of all lists; of several values the last counts,
// and a NAME alone takes the variable away.
func mergeEnv(lists ...[]string) []string {
	var env []string
	place := map[string]int{}
	for _, variable := range slices.Concat(lists...) {
		name, _, valued := strings.Cut(variable, "=")
		i, set := place[name]
		switch {
		case set:
			env[i] = variable
		case valued:
			place[name] = len(env)
			env = append(env, variable)
		}
	}
	return slices.DeleteFunc(env, func(v string) bool { return !strings.Contains(v, "=") })
}

// maxAccounts is how much is read of an image's /etc/passwd and /etc/group.
const maxAccounts = 16 << 20

// lookUpUser resolves USER[:GROUP] in the image's own accounts.
func lookUpUser(tree *layer.Tree, spec string) (*user.ExecUser, error) {
	var files [2]io.Reader
	for i, name := range []string{"etc/passwd", "etc/group"} {
		var data []byte
		resolved, err := tree.Resolve(name, true)
		if err == nil {
			data, err = tree.ReadFile(resolved, maxAccounts)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the image's /%s: %w", name, err)
		}
		files[i] = bytes.NewReader(data)
	}
	account, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, files[0], files[1])
	if err != nil {
		return nil, fault.New("name one that the image's /etc/passwd has, or give numbers: -u UID:GID",
			"user %q can't be found in the image: %w", spec, err)
	}
	return account, nil
}

// unpack makes the tree of an image where it isn't there yet.
func (h *host) unpack(ctx context.Context, img layout.Image) (*layout.ImageConfig, snapshot.Key, error) {
	l := h.store.Layout()
	config, err := l.Config(img)
	if err != nil {
		return nil, "", err
	}
	manifest, err := l.Manifest(img)
	if err != nil {
		return nil, "", err
	}
	diffIDs := config.RootFS.DiffIDs
	if len(diffIDs) != len(manifest.Layers) {
		return nil, "", fault.New("pull the image again, or choose another",
			"the image's manifest has %d layers, its config %d", len(manifest.Layers), len(diffIDs))
	}
	var tree snapshot.Key
	var layers []snapshot.UnpackLayer
	for i, chain := range identity.ChainIDs(append(diffIDs[:0:0], diffIDs...)) {
		blob := manifest.Layers[i]
		layers = append(layers, snapshot.UnpackLayer{
			Key: chain, DiffID: diffIDs[i], Size: blob.Size, Image: cmp.Or(layout.Familiar(img.Name), img.ID.Encoded()[:format.ShortLen]),
			Open: func() (io.ReadCloser, error) { return l.OpenBlob(blob) },
		})
		tree = chain
	}
	return config, tree, h.snapshots.Unpack(ctx, layers, nil)
}

// makeWorkdir makes the directory that the program starts in, as docker does.
// Nothing runs in the tree yet, so what the path leads through stays as it is.
func makeWorkdir(rootfs, cwd string) error {
	dir, err := securejoin.SecureJoin(rootfs, cwd)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	// Whatever umask the caller has, others than root shall get in.
	defer unix.Umask(unix.Umask(0o022))
	return os.MkdirAll(dir, 0o755)
}
