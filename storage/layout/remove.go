package layout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/fault"
)

// RemoveOptions say what may stand in the way of Remove.
type RemoveOptions struct {
	// Force takes all names of an image that is meant by its id, and an image
	// from containers that have stopped.
	Force bool
	// OnlyDangling leaves an image alone, with nothing removed, that has got a tag.
	OnlyDangling bool
	// Users, where set, gives the containers that use the image with an id.
	Users func(id digest.Digest) []User
}

// A User is a container that uses an image.
type User struct {
	ID      string
	Running bool
}

// Removed tells what Remove did.
type Removed struct {
	// Untagged are the names that were taken, as docker shows them.
	Untagged []string
	// ID is the image's where it went with its last name, else "".
	ID digest.Digest
	// Layers are those of its layers that no image has any more, the top one
	// first. Two images share a layer if they share its blob.
	Layers []FreeLayer
	// Blobs are those that nothing in index.json leads to any more. They are
	// still there: the caller decides which of them others use, and hands the
	// rest to DeleteBlobs.
	Blobs []digest.Digest
}

// Remove takes the name that ref is, and with its last name the image, as
// docker's rmi does. An image that is meant by its id must have one tag only, or
// force. The digests by which a repository knows an image are names too; they go
// with the repository's last tag. What a container uses stays: with force only
// if that runs, and then without a name.
func (l *Layout) Remove(ctx context.Context, ref string, o RemoveOptions) (Removed, error) {
	var done Removed
	err := l.change(ctx, func(ix *index) error {
		found, _, err := ix.find(ref)
		if broken := ix.findBroken(ref); err != nil && broken != nil {
			done.Untagged, done.Blobs = []string{ref}, l.removeBroken(ix, broken)
			return nil
		}
		if err != nil {
			return asDocker(err)
		}
		r := newRemoval(ix, *found, ref, o)
		if o.OnlyDangling && slices.ContainsFunc(r.names, isTag) {
			return nil
		}
		if err := r.decide(); err != nil {
			return err
		}
		for _, name := range r.taken {
			done.Untagged = append(done.Untagged, Familiar(name))
		}
		done.Blobs = l.take(ix, r)
		if r.whole {
			done.ID, done.Layers = r.image.id, l.goneLayers(ix, r.image)
		}
		return nil
	})
	if err != nil {
		return done, l.notRemoved(ref, err)
	}
	return done, nil
}

// removeBroken takes a descriptor that is no image off index.json, and gives what
// nothing leads to any more.
func (l *Layout) removeBroken(ix *index, broken *entry) []digest.Digest {
	reached, _ := l.reach(broken.digest) // what can't be found now is found by the daily clean-up
	at := slices.IndexFunc(ix.entries, func(e entry) bool { return e.raw == broken.raw })
	ix.entries = slices.Delete(ix.entries, at, at+1)
	ix.changed = true
	return l.unreferenced(ix, reached)
}

// removal is a Remove in progress.
type removal struct {
	image entry    // one of the image's
	name  string   // canonical, "" where the image is meant by its id
	ref   string   // as the user has it
	names []string // all that the image has
	users []User
	force bool

	taken []string // names that go
	whole bool     // the image goes with them
}

func newRemoval(ix *index, image entry, ref string, o RemoveOptions) *removal {
	r := &removal{image: image, ref: ref, names: ix.references(image.id), force: o.Force}
	if name, err := ParseName(ref); err == nil && slices.Contains(r.names, name) {
		r.name = name
	}
	if image.refName == ref && image.name != "" {
		r.name = image.name // as another tool has written it
	}
	if o.Users != nil {
		r.users = o.Users(image.id)
	}
	return r
}

// decide settles what goes, or why nothing may.
func (r *removal) decide() error {
	if r.name == "" {
		return r.decideByID()
	}
	if user := r.user(nil); user != nil && !r.force && isOneTag(r.names) {
		how := "remove"
		if user.Running {
			how = "end"
		}
		return conflict(fmt.Sprintf("%s container %s first, or take the name all the same: builder rmi -f %s", how, short(user.ID), r.ref),
			"unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
			r.ref, short(user.ID), r.image.id.Encoded()[:ofLen])
	}
	r.taken = withDigests(r.name, r.names)
	running := true
	r.whole = len(r.taken) == len(r.names) && r.user(&running) == nil
	return nil
}

func (r *removal) decideByID() error {
	running, stopped := true, false
	if user := r.user(&running); user != nil {
		return conflict(fmt.Sprintf("end container %s first", short(user.ID)),
			"unable to delete %s (cannot be forced) - image is being used by running container %s",
			r.image.id.Encoded()[:ofLen], short(user.ID))
	}
	if len(r.names) > 0 && !isOneTag(r.names) && !r.force {
		return r.severalNames()
	}
	if user := r.user(&stopped); user != nil && !r.force {
		return conflict(fmt.Sprintf("remove container %s first, or force it: builder rmi -f %s", short(user.ID), r.ref),
			"unable to delete %s (must be forced) - image is being used by stopped container %s",
			r.image.id.Encoded()[:ofLen], short(user.ID))
	}
	r.taken, r.whole = r.names, true
	return nil
}

// user gives a container that uses the image, of those that run or don't.
func (r *removal) user(running *bool) *User {
	for i := range r.users {
		if running == nil || r.users[i].Running == *running {
			return &r.users[i]
		}
	}
	return nil
}

func (r *removal) severalNames() error {
	shown := make([]string, len(r.names))
	for i, name := range r.names {
		shown[i] = Familiar(name)
	}
	id := r.image.id.Encoded()[:ofLen]
	return conflict("remove its names: builder rmi "+strings.Join(shown, " ")+"\nor all at once:  builder rmi -f "+id,
		"unable to delete %s (must be forced) - image is referenced in multiple repositories", id)
}

// ErrConflict is behind every error of Remove about an image that must stay.
var ErrConflict = errors.New("conflict")

func conflict(remedy, format string, args ...any) error {
	return &fault.Error{Err: fmt.Errorf("%w: "+format, append([]any{ErrConflict}, args...)...), Remedy: remedy, Code: 1}
}

// short gives a container's id as users see it.
func short(id string) string { return id[:min(len(id), ofLen)] }

// take takes the names that r has decided upon from index.json, and the image
// with them if it is to go, and gives the blobs that nothing leads to any more.
func (l *Layout) take(ix *index, r *removal) []digest.Digest {
	if r.whole {
		return l.removeEntries(ix, r.image.id, func(*entry) bool { return true })
	}
	if len(r.taken) == len(r.names) {
		ix.keepNameless(r.image.id)
		return nil
	}
	ix.forgetDigests(r.image.id, r.taken)
	return l.removeEntries(ix, r.image.id, func(e *entry) bool { return slices.Contains(r.taken, e.name) })
}
