package stage

import (
	"regexp"
	"strings"

	"github.com/builder-oci/builder/storage/cache"
)

const (
	argDetail = "ARG:"
	envDetail = "ENV:"
	// maxShown bounds the values that a record shows, in bytes.
	maxShown = 200
)

// variables yields the environment for a step's record, so that it can be told
// what has changed: whether ARG or ENV set it, and "=" with its value where
// that may be read. The key has the values' digests.
func (st *State) variables(yield func(cache.Input) bool) {
	for _, kv := range st.Env() {
		name, value, _ := strings.Cut(kv, "=")
		prefix := envDetail
		if st.fromArg(name) {
			prefix = argDetail
		}
		shown := "=" + value
		if len(value) > maxShown || secretLike(name, value) {
			shown = ""
		}
		if !yield(cache.Input{Name: prefix + name, Value: shown}) {
			return
		}
	}
}

// fromArg says whether a variable of Env has an ARG's value.
func (st *State) fromArg(name string) bool {
	if _, isArg := lookupEnv(st.Args, name); !isArg {
		return false
	}
	_, inENV := lookupEnv(st.Config.Config.Env, name)
	return !inENV || st.overENV[name]
}

var (
	secretPart = regexp.MustCompile(`(?i)password|passwd|passphrase|pword|secret|token|credential|api_?key|private_?key`)
	secretWord = regexp.MustCompile(`(?i)(^|[_-])(key|auth|authorization|pat|pass|pw|pwd|pin|cookie|session)($|[_-])`)
	userInURL  = regexp.MustCompile(`://[^/@\s]+@`)
)

// secretLike says whether a variable may hold what nobody should read.
func secretLike(name, value string) bool {
	return secretPart.MatchString(name) || secretWord.MatchString(name) || userInURL.MatchString(value)
}

// OpenLine is a line of the history less the values of build arguments that may be
// secrets: for a record that nobody has asked for.
func (st *State) OpenLine(text string) string {
	for _, arg := range st.BuildArgs() {
		name, value, _ := strings.Cut(arg, "=")
		if value != "" && st.fromArg(name) && secretLike(name, value) {
			text = strings.ReplaceAll(text, arg, name+"=")
		}
	}
	return text
}
