package stage

import (
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/cache"
)

// Cause is the kind of a Reason.
type Cause string

// Why a step is executed.
const (
	// CauseFirst: no build of this Dockerfile, target and context came to it.
	CauseFirst Cause = "first"
	// CauseNew: the last build had nothing in the step's place.
	CauseNew Cause = "new"
	// CauseChanged: what the step depends on has changed.
	CauseChanged Cause = "changed"
	// CauseGone: nothing has changed, but the result isn't in the store any more.
	CauseGone Cause = "gone"
	// CauseNoCache: the user wants it.
	CauseNoCache Cause = "no-cache"
	// CauseForgotten: something has changed, and the record that tells what is
	// gone.
	CauseForgotten Cause = "forgotten"
)

// Reason says why a step is executed.
type Reason struct {
	Cause Cause `json:"cause"`
	// Changes are the first ones, what the instruction itself says first. Files
	// counts all changes of files.
	Changes []Difference `json:"changes,omitempty"`
	Files   int          `json:"files,omitempty"`
}

// What has changed.
const (
	ChangedInstruction = "instruction" // its text
	ChangedFile        = "file"        // Name is its path below the source
	ChangedArg         = "arg"
	ChangedEnv         = "env"
	ChangedBase        = "base"    // Name is FROM's argument, Old and New are ids
	ChangedBelow       = "below"   // Name is the instruction before, which is another or ran
	ChangedMount       = "mount"   // Name is its type and target; Old and New are its declarations
	ChangedSetting     = "setting" // Name is an input of the key
)

// Difference is one thing that isn't what the step depended on the last time.
type Difference struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// Mount is, of a file that a mount of RUN shows, the mount's target.
	Mount string `json:"mount,omitempty"`
	// How tells what of a file: "added", "removed", or of "type", "content",
	// "mode", "owner", "target" and "attributes" those that differ, separated by
	// commas; of a variable "added", "removed" or "changed".
	How string `json:"how,omitempty"`
	// Old and New are values; both are "" where they are long, or nobody should
	// read them.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// Former is what stood in a step's place in the last build of the same
// Dockerfile, target and context.
type Former struct {
	// Key and Parent are those of the step; "" where there was none.
	Key, Parent digest.Digest
	Instruction string
	// Below is the change to report where Parent isn't the same any more.
	Below Difference
}

// maxFiles is how many files a reason names.
const maxFiles = 10

// explain reports why a job is executed.
func (r *Runner) explain(at Step, j *job, key digest.Digest) {
	r.Report(Missed{Step: at, Reason: r.reason(at, j, key)})
}

func (r *Runner) reason(at Step, j *job, key digest.Digest) Reason {
	if r.NoCache {
		return Reason{Cause: CauseNoCache}
	}
	if r.Former == nil {
		return Reason{Cause: CauseFirst}
	}
	was := r.Former(at.Place)
	switch {
	case was == nil:
		return Reason{Cause: CauseFirst}
	case was.Key == "":
		return Reason{Cause: CauseNew}
	case was.Key == key:
		return Reason{Cause: CauseGone}
	}
	reason := Reason{Cause: CauseChanged}
	if was.Instruction != ShortInstruction(j.instruction) {
		reason.Changes = append(reason.Changes, Difference{
			Kind: ChangedInstruction, Old: was.Instruction, New: ShortInstruction(j.instruction),
		})
	}
	if old, now, files, err := r.differing(was.Key, j); err == nil {
		reason.compare(old, now)
		reason.Files = files
	}
	if i := slices.IndexFunc(j.inputs, isParent); i >= 0 && j.inputs[i].Value != was.Parent.String() {
		reason.Changes = append(reason.Changes, was.Below)
	}
	if len(reason.Changes) == 0 {
		reason.Cause = CauseForgotten
	}
	return reason
}

func isParent(in cache.Input) bool { return in.Name == "parent" }

// ShortInstruction cuts an instruction to what is kept of it in a build's list.
func ShortInstruction(text string) string {
	const longest = 400
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// compare adds how the inputs differ, but for the parent.
func (r *Reason) compare(old, now []cache.Input) {
	before, after := byName(old), byName(now)
	targets := mountTargets(old, now)
	var files, mounts, variables, settings []Difference
	for _, name := range names(old, now) {
		was, had := before[name]
		is, has := after[name]
		if slices.Equal(was, is) {
			continue
		}
		kind, rest, _ := strings.Cut(name, ":")
		switch kind {
		case "parent", "content", "ARG", "ENV", "arg", "script":
			// arg and script are the command, which the instruction's text has.
		case "file":
			files = append(files, fileChange(rest, was, is))
		case "mounted":
			if target, path := targets.part(rest); path != "" {
				change := fileChange(path, was, is)
				change.Mount = target
				files = append(files, change)
			}
		case "mount":
			mounts = append(mounts, mountChanges(was, is)...)
		case "env":
			variables = append(variables, variableChange(rest, before, after))
		default:
			settings = append(settings, Difference{
				Kind: ChangedSetting, Name: name, How: how(had, has),
				Old: strings.Join(was, " "), New: strings.Join(is, " "),
			})
		}
	}
	mounts = append(mounts, targets.otherwise(before, after, files)...)
	if len(r.Changes) == 0 && len(variables)+len(mounts)+len(settings) == 0 && !slices.Equal(before["arg"], after["arg"]) {
		settings = append(settings, Difference{
			Kind: ChangedSetting, Name: "command", How: "changed",
			Old: strings.Join(before["arg"], " "), New: strings.Join(after["arg"], " "),
		})
	}
	r.Files = len(files)
	r.Changes = slices.Concat(r.Changes, files[:min(len(files), maxFiles)], mounts, variables, settings)
}

// byName gives the values of each name, in their order.
func byName(inputs []cache.Input) map[string][]string {
	values := make(map[string][]string, len(inputs))
	for _, in := range inputs {
		values[in.Name] = append(values[in.Name], in.Value)
	}
	return values
}

// names gives each name once: first those of now, then what is only in old.
func names(old, now []cache.Input) []string {
	seen := make(map[string]bool, len(now))
	var list []string
	for _, in := range slices.Concat(now, old) {
		if !seen[in.Name] {
			seen[in.Name] = true
			list = append(list, in.Name)
		}
	}
	return list
}

func how(had, has bool) string {
	switch {
	case !had:
		return "added"
	case !has:
		return "removed"
	default:
		return "changed"
	}
}

func variableChange(name string, before, after map[string][]string) Difference {
	_, had := before["env:"+name]
	_, has := after["env:"+name]
	c := Difference{Kind: ChangedEnv, Name: name, How: how(had, has)}
	_, wasArg := before[argDetail+name]
	_, isArg := after[argDetail+name]
	if isArg || !has && wasArg {
		c.Kind = ChangedArg
	}
	was, is := displayed(before, name), displayed(after, name)
	if (was != "" || !had) && (is != "" || !has) {
		c.Old, c.New = strings.TrimPrefix(was, "="), strings.TrimPrefix(is, "=")
	}
	return c
}

// displayed gives "=" and a variable's value, or "" where it isn't recorded.
func displayed(values map[string][]string, name string) string {
	for _, prefix := range []string{argDetail, envDetail} {
		if v := values[prefix+name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func fileChange(path string, was, is []string) Difference {
	c := Difference{Kind: ChangedFile, Name: path, How: how(len(was) > 0, len(is) > 0)}
	if len(was) == 1 && len(is) == 1 {
		c.How = strings.Join(differences(was[0], is[0]), ", ")
	}
	return c
}

// differences tells what of an entry isn't the same in two lines of describe,
// each with the content's digest at its end.
func differences(was, is string) []string {
	var list []string
	a, b := parseEntry(was), parseEntry(is)
	for i, what := range []string{"type", "content", "mode", "owner", "target or attributes"} {
		if a[i] != b[i] {
			list = append(list, what)
		}
	}
	if a[0] != b[0] {
		return list[:1]
	}
	return list
}

// parseEntry gives type, content, mode, owner and the rest.
func parseEntry(line string) (parts [5]string) {
	fields := strings.SplitN(line, " ", 4)
	for i, to := range []int{0, 2, 3, 4} {
		if i < len(fields) {
			parts[to] = fields[i]
		}
	}
	rest := parts[4]
	if i := strings.LastIndex(rest, string(digest.SHA256)+":"); i >= 0 && !strings.ContainsAny(rest[i:], " \"") {
		parts[1], parts[4] = rest[i:], strings.TrimSpace(rest[:i])
	}
	return parts
}
