package main

import (
	"bytes"
	"errors"
	"slices"

	"github.com/moby/sys/user"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layer"
)

// account is as whom a program runs.
type account struct {
	uid, gid uint32
	groups   []uint32 // gid first
	home     string
}

// lookUpAccount resolves USER[:GROUP], and names or numbers of further groups, in
// the accounts that stand in the tree.
func lookUpAccount(tree *layer.Tree, spec string, more []string) (account, error) {
	passwd, group, err := stage.Accounts(tree)
	if err != nil {
		return account{}, err
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return account{}, fault.New("name one that the image's /etc/passwd has, or give numbers: -u UID:GID", "%w", err)
	}
	// The library takes a group that is named twice for one that isn't there.
	gids, err := user.GetAdditionalGroups(slices.Compact(slices.Sorted(slices.Values(more))), bytes.NewReader(group))
	if err != nil {
		return account{}, fault.New("name one that the image's /etc/group has, or give a number", "%w", err)
	}
	slices.Sort(gids)
	a := account{uid: uint32(u.Uid), gid: uint32(u.Gid), groups: stage.Groups(u), home: u.Home}
	for _, gid := range gids {
		if !slices.Contains(a.groups, uint32(gid)) {
			a.groups = append(a.groups, uint32(gid))
		}
	}
	return a, nil
}

// accountIn looks USER[:GROUP] up in a container's files, as its programs have left
// them.
func accountIn(rootfs, spec string) (container.Account, error) {
	tree := layer.NewTree([]string{rootfs})
	a, err := lookUpAccount(tree, spec, nil)
	return container.Account{UID: a.uid, GID: a.gid, Groups: a.groups, Home: a.home}, errors.Join(err, tree.Close())
}
