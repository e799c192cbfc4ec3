package stage

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layer"
)

// maxAccounts bounds what is read of an image's /etc/passwd and /etc/group:
// a hostile one may be of any size.
const maxAccounts = 16 << 20

// lookupUser resolves USER in the image's own accounts.
func lookupUser(tree *layer.Tree, spec string) (*user.ExecUser, error) {
	passwd, group, err := Accounts(tree)
	if err != nil {
		return nil, err
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return nil, fault.New(
			"create the account in an earlier RUN, or give USER as numbers",
			"user %q can't be found in the image: %w", spec, err)
	}
	return u, nil
}

// Groups are the groups that a user's processes are in, the first of them the
// user's own: programs look for it among the additional ones.
func Groups(u *user.ExecUser) []uint32 {
	groups := []uint32{uint32(u.Gid)}
	for _, gid := range u.Sgids {
		if gid != u.Gid {
			groups = append(groups, uint32(gid))
		}
	}
	return groups
}

// owner is what --chown asks for, and whom WORKDIR's directories belong to.
type owner struct{ uid, gid uint32 }

// lookupOwner resolves USER[:GROUP]. A number without a group stands for the
// group as well; a name's group is that of its account. setting is what the
// user wrote, for errors: "--chown=www".
func lookupOwner(tree *layer.Tree, setting, spec string) (owner, error) {
	name, groupName, hasGroup := strings.Cut(spec, ":")
	var o owner
	passwd, group, err := Accounts(tree)
	if err != nil {
		return o, err
	}
	if id, ok := numericID(name); ok {
		o = owner{uid: id, gid: id}
	} else if name != "" {
		us, err := user.ParsePasswdFilter(bytes.NewReader(passwd), func(u user.User) bool { return u.Name == name })
		if err != nil || len(us) == 0 {
			return o, fault.New("create the account in an earlier RUN, or give numbers",
				"%s: no user %q in the image's /etc/passwd", setting, name)
		}
		o = owner{uid: uint32(us[0].Uid), gid: uint32(us[0].Gid)}
	}
	if !hasGroup {
		return o, nil
	}
	if id, ok := numericID(groupName); ok {
		o.gid = id
		return o, nil
	}
	gs, err := user.ParseGroupFilter(bytes.NewReader(group), func(g user.Group) bool { return g.Name == groupName })
	if err != nil || len(gs) == 0 {
		return o, fault.New("create the group in an earlier RUN, or give numbers",
			"%s: no group %q in the image's /etc/group", setting, groupName)
	}
	o.gid = uint32(gs[0].Gid)
	return o, nil
}

// numericID reads an id. root needs no account, so that an image without any
// can name it.
func numericID(name string) (uint32, bool) {
	if name == "root" {
		return 0, true
	}
	id, err := strconv.ParseUint(name, 10, 31)
	return uint32(id), err == nil
}

// Accounts reads the image's passwd and group files; a missing one is empty, one
// that is larger than they ever are is an error.
func Accounts(tree *layer.Tree) (passwd, group []byte, err error) {
	if passwd, err = readThrough(tree, "etc/passwd"); err != nil {
		return nil, nil, err
	}
	group, err = readThrough(tree, "etc/group")
	return passwd, group, err
}

func readThrough(tree *layer.Tree, path string) ([]byte, error) {
	target, err := tree.Resolve(path, true)
	if err != nil {
		return nil, err
	}
	data, err := tree.ReadFile(target, maxAccounts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.EINVAL):
		return nil, fault.New("choose another base image, or replace it by a COPY",
			"the image's /%s is no plain file", path)
	case errors.Is(err, layer.ErrLarger):
		return nil, fault.New("choose another base image, or replace it by a COPY",
			"the image's /%s is larger than %d MiB", path, maxAccounts>>20)
	}
	return data, err
}
