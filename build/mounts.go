package build

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	buildcontext "github.com/builder-oci/builder/build/context"
	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/cache"
)

// BuildKit's build arguments for all RUNs: the name of the host that they see, and
// what sets the ids of their cache mounts apart from those of other builds.
const (
	hostnameArg     = "BUILDKIT_SANDBOX_HOSTNAME"
	cacheMountNSArg = "BUILDKIT_CACHE_MOUNT_NS"
)

// secretsDir is where secrets are seen that have no target of their own.
const secretsDir = "/run/secrets"

// mounts turns the mounts of a RUN into what a stage understands: values are
// expanded, targets absolute, defaults filled in. The volumes and devices of
// all RUNs come first.
func (b *build) mounts(st *stage.State, in dockerfile.Instruction, c *instructions.RunCommand) ([]stage.Mount, error) {
	words, err := b.file.Mounts(c, st.Env())
	if err != nil {
		return nil, err
	}
	var mounts []stage.Mount
	for _, v := range b.o.Volumes {
		mounts = append(mounts, v)
	}
	for _, d := range b.o.Devices {
		mounts = append(mounts, d)
	}
	for _, m := range words {
		mount, err := b.mount(st, in, m)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

func (b *build) mount(st *stage.State, in dockerfile.Instruction, m *instructions.Mount) (stage.Mount, error) {
	switch m.Type {
	case instructions.MountTypeSecret:
		return secretMount(st, m)
	case instructions.MountTypeSSH:
		return sshMount(st, m)
	}
	target := absolute(st, m.Target)
	if target == "/" {
		return nil, fault.New("name a directory below it by target=", "a mount can't take the place of the whole root directory")
	}
	switch m.Type {
	case instructions.MountTypeTmpfs:
		return stage.TmpfsMount{Target: target, Size: m.SizeLimit, ReadOnly: m.ReadOnly}, nil
	case instructions.MountTypeCache:
		return b.cacheMount(in, m, target), nil
	}
	return stage.BindMount{
		Target: target, From: b.mountSource(in, m.From), Source: inSource(m.Source), ReadOnly: m.ReadOnly,
	}, nil
}

func (b *build) cacheMount(in dockerfile.Instruction, m *instructions.Mount, target string) stage.Mount {
	mount := stage.CacheMount{
		Target: target, ID: m.CacheID, Sharing: cache.Sharing(m.CacheSharing),
		Source: inSource(m.Source), ReadOnly: m.ReadOnly, Owner: ownerOf(m),
	}
	if mount.ID == "" {
		mount.ID = path.Clean(m.Target)
	}
	if ns := b.o.BuildArgs[cacheMountNSArg]; ns != "" {
		mount.ID = ns + "/" + mount.ID
	}
	if m.From != "" && m.From != dockerfile.Scratch {
		mount.From = b.mountSource(in, m.From)
	}
	return mount
}

func secretMount(st *stage.State, m *instructions.Mount) (stage.Mount, error) {
	id := m.CacheID
	if id == "" {
		id = m.Source
	}
	if id == "" {
		id = path.Base(m.Target)
	}
	mount := stage.SecretMount{ID: id, Required: m.Required, Owner: ownerOf(m)}
	if m.Env != nil {
		if mount.Env = *m.Env; mount.Env == "" {
			return nil, fault.New("", "env= of the secret %s names no variable", id)
		}
	}
	switch {
	case m.Target != "":
		mount.Target = absolute(st, m.Target)
	case m.Env == nil:
		mount.Target = path.Join(secretsDir, path.Base(id))
	}
	if mount.Target == "/" {
		return nil, fault.New("name a file by target=", "the secret %s can't be mounted at /", id)
	}
	return mount, nil
}

func sshMount(st *stage.State, m *instructions.Mount) (stage.Mount, error) {
	if m.Source != "" {
		return nil, fault.New("name the keys by id=, and give them by --ssh", "a mount of type ssh has no source")
	}
	mount := stage.SSHMount{ID: m.CacheID, Required: m.Required, Owner: ownerOf(m)}
	if mount.ID == "" {
		mount.ID = "default"
	}
	if m.Target != "" {
		mount.Target = absolute(st, m.Target)
	}
	return mount, nil
}

// absolute is a mount's target as it is seen from the working directory.
func absolute(st *stage.State, target string) string {
	if !path.IsAbs(target) {
		target = path.Join("/", st.Config.Config.WorkingDir, target)
	}
	return path.Clean(target)
}

// inSource is a path in what a mount reads, "" for all of it.
func inSource(source string) string { return path.Join("/", source)[1:] }

func ownerOf(m *instructions.Mount) stage.Owner {
	narrow := func(v *uint64) *uint32 {
		if v == nil {
			return nil
		}
		n := uint32(*v) // the parser takes no more than 32 bits
		return &n
	}
	return stage.Owner{UID: narrow(m.UID), GID: narrow(m.GID), Mode: narrow(m.Mode)}
}

// mountSource gives what from names; without it, the context.
func (b *build) mountSource(in dockerfile.Instruction, from string) stage.Source {
	switch from {
	case "":
		return b.files
	case dockerfile.Scratch:
		return scratchSource{b}
	}
	if i, ok := in.MountStages[from]; ok && i >= 0 {
		return stageSource{b, b.file.Stages[i]}
	}
	return b.sourceNamed(from)
}

// scratchSource is the empty image as the source of a mount.
type scratchSource struct{ b *build }

func (s scratchSource) Known(context.Context) (*stage.State, error) {
	st := stage.Scratch(emptyConfig(s.b.file.Platform))
	return &st, nil
}

func (s scratchSource) Files(ctx context.Context) (stage.Files, error) {
	st := stage.Scratch(emptyConfig(s.b.file.Platform))
	return s.b.runner.TreeFiles(ctx, &st)
}

// Directory gives the context's own directory to bind mounts, if all in it that
// isn't left out belongs to the user, has the mode that counts and no attributes:
// everything else isn't in the user namespace what its key says of it.
func (f *contextFiles) Directory(ctx context.Context, path string) (dir string, hidden []string, ok bool, err error) {
	l, err := f.list(ctx, path)
	if err != nil {
		return "", nil, false, err
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	err = l.Each(func(e *buildcontext.Entry) error {
		if e.Stat.UID != uid || e.Stat.GID != gid || f.showsOtherMode(e) || f.hasXattrs(e) {
			return errNotAsItIs
		}
		return ctx.Err()
	})
	if errors.Is(err, errNotAsItIs) {
		return "", nil, false, nil
	}
	if err != nil {
		return "", nil, false, err
	}
	if hidden, err = f.dir.Hidden(ctx, l.Each); err != nil {
		return "", nil, false, err
	}
	for i := range hidden {
		hidden[i] = buildcontext.Below(path, hidden[i])
	}
	return filepath.Join(f.dir.Root(), path), hidden, true, nil
}

var errNotAsItIs = errors.New("not to be shown as it is")

// showsOtherMode says whether an entry's own mode isn't the one that its key has.
func (f *contextFiles) showsOtherMode(e *buildcontext.Entry) bool {
	return f.gitModes && e.Linkname == "" && int64(e.Stat.Mode&0o7777) != gitMode(e.Stat.Mode)
}

// hasXattrs says whether an entry has attributes that a command could take along;
// those of a context are in no key, since git and archives keep none. Where a
// directory of its path is just being replaced, the answer is for what is there now.
func (f *contextFiles) hasXattrs(e *buildcontext.Entry) bool {
	var names [4096]byte
	n, err := unix.Llistxattr(filepath.Join(f.dir.Root(), e.Path), names[:])
	if err != nil {
		return err == unix.ERANGE
	}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if strings.HasPrefix(name, "user.") || name == "security.capability" {
			return true
		}
	}
	return false
}
