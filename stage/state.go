package stage

import (
	"maps"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/layout"
	"github.com/builder-oci/builder/storage/snapshot"
)

// State is what an instruction starts from and what it leaves.
type State struct {
	// Config is the image's config so far, without history and diffIDs. The
	// state owns it.
	Config *layout.ImageConfig
	// Args are the build arguments declared so far, each KEY=value, or KEY
	// alone where it has no value.
	Args []string
	// Key names the outcome of the steps so far; the keys of the steps that
	// follow are made from it. After FROM it is the image's id.
	Key digest.Digest
	// ID names the last step to users, who see the first digits of it: of one that
	// changes files it is the key, after FROM the image's id.
	ID digest.Digest
	// Definition is made from the instructions and the context alone: it is
	// known even where nothing has been built, and says less than Key, since
	// one definition can have several outcomes.
	Definition digest.Digest
	// Tree is the snapshot that holds the files; "" is the empty tree.
	Tree snapshot.Key
	// Layers make up the tree, base first.
	Layers []Layer
	// History tells of each instruction, first one first.
	History []History

	// outcomes has the results of the steps that made the state, and of those
	// that made what it was copied from, as far as they are known.
	outcomes outcomes
	// lost says that a Definer has met a step of which there is no record, so
	// that Key doesn't name what the state's definition does.
	lost bool
	// overENV names the arguments that were declared after ENV set a variable
	// of their name.
	overENV map[string]bool
	// ownCmd says that this stage set CMD itself, so that ENTRYPOINT keeps it.
	ownCmd bool
}

// Layer is one layer of a state's tree.
type Layer struct {
	// Tree is the snapshot in which this layer is the topmost.
	Tree snapshot.Key
	// Alone, where set, is the snapshot that holds this layer and nothing below
	// it: what it is packed from (COPY --link).
	Alone snapshot.Key
	// Blob and DiffID are set for a layer that came with the base image.
	Blob   v1.Descriptor
	DiffID digest.Digest
	// Image is how users know the base image that it came with.
	Image string
	// Written says that builder wrote the entries itself (COPY, ADD), so that
	// their times are nobody's result and an epoch may replace them all.
	Written bool
}

// FromImage says that the layer came with the base image.
func (l Layer) FromImage() bool { return l.DiffID != "" }

// History is one entry of an image's history.
type History struct {
	v1.History
	// Layer is the index of the instruction's layer, or -1.
	Layer int
	// Own says that this build added the entry, with or without a layer.
	Own bool
}

// Scratch is the state after FROM scratch.
func Scratch(config *layout.ImageConfig) State {
	key := keyOf("scratch", nil)
	return State{Config: config, Key: key, ID: key, Definition: key}
}

// Clone gives a state that can be changed without changing st.
func (st State) Clone() State {
	st.Config = st.Config.Clone()
	st.Args = slices.Clone(st.Args)
	st.Layers = slices.Clone(st.Layers)
	st.History = slices.Clone(st.History)
	st.outcomes = maps.Clone(st.outcomes)
	st.overENV = maps.Clone(st.overENV)
	return st
}

// Descend gives the state that a stage based on this one starts from. The build
// arguments come along, though none hides ENV any more; who set CMD is the
// stage's own business.
func (st State) Descend() State {
	next := st.Clone()
	next.overENV, next.ownCmd = nil, false
	return next
}

// Env gives the variables that an instruction's words are expanded with, and
// that a command sees: the config's ENV and the build arguments. Of two with one
// name the later instruction's counts, as in BuildKit.
func (st *State) Env() []string {
	env := make([]string, len(st.Config.Config.Env), len(st.Config.Config.Env)+len(st.Args))
	copy(env, st.Config.Config.Env)
	if len(st.Args) == 0 {
		return env
	}
	places := make(map[string]int, len(env))
	for i, kv := range slices.Backward(env) {
		name, _, _ := strings.Cut(kv, "=")
		places[name] = i
	}
	for _, arg := range st.Args {
		name, _, set := strings.Cut(arg, "=")
		place, inENV := places[name]
		switch {
		case !set:
		case !inENV:
			env = append(env, arg)
		case st.overENV[name]:
			env[place] = arg
		}
	}
	return env
}

// platform is what the commands of the state's image are for, as keys have it.
func (st *State) platform() string {
	p := st.Config.Platform()
	if p.Architecture == "" {
		p = platform.Here()
	}
	return platform.Name(p)
}

// BuildArgs gives each declared argument as KEY=value with the value that Env
// has for it: what the history says of a command.
func (st *State) BuildArgs() []string {
	env := st.Env()
	args := make([]string, len(st.Args))
	for i, arg := range st.Args {
		name, _, _ := strings.Cut(arg, "=")
		value, _ := lookupEnv(env, name)
		args[i] = name + "=" + value
	}
	return args
}

// SetArg gives a build argument its value. A later declaration wins.
func (st *State) SetArg(name, value string) {
	st.declare(name)
	st.Args = setEnv(st.Args, name, value)
	if _, inENV := lookupEnv(st.Config.Config.Env, name); inENV {
		if st.overENV == nil {
			st.overENV = map[string]bool{}
		}
		st.overENV[name] = true
	}
}

// declare notes a build argument; one that has a value keeps it.
func (st *State) declare(name string) {
	if _, set := lookupEnv(st.Args, name); !set && !slices.Contains(st.Args, name) {
		st.Args = append(st.Args, name)
	}
}

// note adds an instruction to the history that made no layer.
func (st *State) note(createdBy string) {
	st.History = append(st.History, History{
		History: v1.History{CreatedBy: createdBy, Comment: historyComment, EmptyLayer: true},
		Layer:   -1,
		Own:     true,
	})
	st.ID = keyOf("config", []cache.Input{{Name: "parent", Value: st.ID.String()}, {Name: "change", Value: createdBy}})
}

// grow puts a layer on top.
func (st *State) grow(l Layer, createdBy string, created time.Time) {
	st.Tree = l.Tree
	st.Layers = append(st.Layers, l)
	st.History = append(st.History, History{
		History: v1.History{Created: &created, CreatedBy: createdBy, Comment: historyComment},
		Layer:   len(st.Layers) - 1,
		Own:     true,
	})
}

// historyComment stands beside each history entry that builder writes. It is
// BuildKit's, like the entries: tools know by it how to read them.
const historyComment = "buildkit.dockerfile.v0"

func lookupEnv(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if n, v, _ := strings.Cut(env[i], "="); n == name {
			return v, true
		}
	}
	return "", false
}

// setEnv replaces a variable where it stands, or adds it at the end.
func setEnv(env []string, name, value string) []string {
	for i, kv := range env {
		if n, _, _ := strings.Cut(kv, "="); n == name {
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env, name+"="+value)
}
