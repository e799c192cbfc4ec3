package stage

import (
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// mountedInput begins the names of the inputs that say what a mount shows: the
// target follows, with the content's digest as value, and for a record's details
// a colon and a path after that.
const mountedInput = "mounted:"

// targetList has the targets of the mounts that show files.
type targetList []string

// mountTargets gives the targets that inputs name. What is said of a file has
// spaces in it, a digest has none.
func mountTargets(lists ...[]cache.Input) (targets targetList) {
	for _, in := range slices.Concat(lists...) {
		target, ok := strings.CutPrefix(in.Name, mountedInput)
		if ok && digest.Digest(in.Value).Validate() == nil && !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return targets
}

// part parts the rest of a name into target and path: "" where the name is that
// of a target. Both may have colons.
func (targets targetList) part(rest string) (target, path string) {
	if slices.Contains(targets, rest) {
		return rest, ""
	}
	for _, t := range targets {
		if p, ok := strings.CutPrefix(rest, t+":"); ok && len(t) >= len(target) {
			target, path = t, p
		}
	}
	return target, path
}

// otherwise gives the mounts that show something else, though no file tells what:
// a whole image, or what the record doesn't list.
func (targets targetList) otherwise(before, after map[string][]string, files []Difference) (changes []Difference) {
	for _, t := range targets {
		was, had := before[mountedInput+t]
		is, has := after[mountedInput+t]
		told := slices.ContainsFunc(files, func(d Difference) bool { return d.Mount == t })
		if had && has && !told && !slices.Equal(was, is) {
			changes = append(changes, Difference{Kind: ChangedMount, Name: t, How: "content"})
		}
	}
	return changes
}

// mountChanges compares the declarations of mounts. Two of one type with one
// target are the same mount.
func mountChanges(was, is []string) (changes []Difference) {
	left := slices.Clone(was)
	for _, now := range is {
		if i := slices.Index(left, now); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		name := mountName(now)
		i := slices.IndexFunc(left, func(old string) bool { return mountName(old) == name && !slices.Contains(is, old) })
		if i < 0 {
			changes = append(changes, Difference{Kind: ChangedMount, Name: name, How: "added", New: now})
			continue
		}
		changes = append(changes, Difference{Kind: ChangedMount, Name: name, How: "changed", Old: left[i], New: now})
		left = slices.Delete(left, i, i+1)
	}
	for _, old := range left {
		changes = append(changes, Difference{Kind: ChangedMount, Name: mountName(old), How: "removed", Old: old})
	}
	if len(changes) == 0 {
		changes = append(changes, Difference{Kind: ChangedMount, How: "order"})
	}
	return changes
}

// mountName gives type and target of a mount from its declaration; of one that
// is seen nowhere, its id.
func mountName(declaration string) string {
	kind, rest, _ := strings.Cut(declaration, " ")
	for _, field := range []string{"target=", "id="} {
		_, value, found := strings.Cut(" "+rest, " "+field+`"`)
		if end := strings.Index(value, `"`); found && end > 0 {
			return kind + " " + value[:end]
		}
	}
	return kind
}
