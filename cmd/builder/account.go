package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/moby/sys/user"

	"github.com/builder-oci/builder/internal/fault"
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
	var files [2][]byte
	for i, name := range []string{"etc/passwd", "etc/group"} {
		var err error
		if files[i], err = readAccounts(tree, name); err != nil {
			return account{}, err
		}
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(files[0]), bytes.NewReader(files[1]))
	if err != nil {
		return account{}, fault.New("name one that the image's /etc/passwd has, or give numbers: -u UID:GID", "%w", err)
	}
	slices.Sort(more)
	gids, err := user.GetAdditionalGroups(slices.Compact(more), bytes.NewReader(files[1]))
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

// readAccounts reads one of the files of accounts, which may be missing.
func readAccounts(tree *layer.Tree, name string) ([]byte, error) {
	resolved, err := tree.Resolve(name, true)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("the image's /%s: %w", name, err)
	}
	data, err := tree.ReadFile(resolved, maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the image's /%s: %w", name, err)
	}
	return data, nil
}
